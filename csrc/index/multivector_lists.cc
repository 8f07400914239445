// The inverted lists of a MultiVectorIndex: when they are made, and of what.
#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>
#include <utility>

#include "codec/kmeans.h"
#include "core/error.h"
#include "core/parallel.h"
#include "index/multivector.h"

namespace tercet {
namespace {

// Below, comparing with every token takes about a millisecond of a core.
constexpr size_t kFewTokens = size_t{1} << 17;
// A list is short, and worth its centroid, with a few texts in it.
constexpr size_t kTokensPerCentroid = 16;
// Texts that are not listed are compared one by one; listing them passes over all lists.
constexpr size_t kUnlistedPart = 32;
constexpr size_t kSampleOfCentroid = 32;  // tokens that a centroid is trained on
constexpr size_t kBlockRows = 4096;

}  // namespace

// 8 sqrt(n), down to a power of two.
size_t MultiVectorIndex::lists_for(size_t tokens) {
  size_t count = 1;
  const double most = std::min<double>(8 * std::sqrt(static_cast<double>(tokens)), Codebook::kMost);
  while (static_cast<double>(count * 2) <= most) count *= 2;
  return count;
}

// On what is stored, spread over all of it.
void MultiVectorIndex::train_lists(size_t threads) {
  opened_.check();
  const size_t centroids = lists_for(living_rows_);
  const size_t step = std::max<size_t>(1, living_rows_ / (centroids * kSampleOfCentroid));
  // As int8 vectors, which k-means makes of them anyhow: there may be as many as take a good part of the
  // index.
  AlignedVector<uint8_t> codes;
  AlignedVector<float> scales;
  codes.reserve((living_rows_ / step + 1) * dim());
  scales.reserve(living_rows_ / step + 1);
  std::vector<float> row(dim());
  size_t until = 0;  // rows to the next of the sample
  for (const TokenSpan& span : spans_) {
    size_t t = until;
    for (; t < span.count; t += step) {
      store_.decode(span.begin + t, row.data());
      codes.resize(codes.size() + dim());
      scales.resize(scales.size() + 1);
      quantise_vectors(row.data(), dim(), dim(), scales.size() - 1, 1, codes.data() + codes.size() - dim(),
                       &scales.back());
    }
    until = t - span.count;
  }
  codebook_ = std::make_unique<Codebook>(
      train_codebook(Int8Vectors{codes.data(), scales.data(), scales.size(), dim()},
                     {centroids, KMeans{}.iterations, seed_, threads}));
}

// Of all tokens of the texts, one after the other.
std::vector<uint16_t> MultiVectorIndex::nearest_centroids(const std::vector<TokenSpan>& texts,
                                                          size_t threads) const {
  std::vector<size_t> starts{0}, blocks{0};  // of a text, its first token; of a block, its first text
  for (size_t i = 0; i < texts.size(); ++i) {
    starts.push_back(starts.back() + texts[i].count);
    if (starts.back() - starts[blocks.back()] >= kBlockRows) blocks.push_back(i + 1);
  }
  if (blocks.back() != texts.size()) blocks.push_back(texts.size());
  std::vector<uint16_t> nearest(starts.back());
  parallel_for(blocks.size() - 1, threads, [&](size_t block, size_t) {
    const size_t first = starts[blocks[block]], count = starts[blocks[block + 1]] - first;
    std::vector<float> rows(store_.codebook() ? 0 : count * dim());
    size_t row = 0;
    for (size_t i = blocks[block]; i < blocks[block + 1]; ++i) {
      for (size_t t = texts[i].begin; t < texts[i].begin + texts[i].count; ++t, ++row) {
        if (store_.codebook()) {
          nearest[first + row] = store_.view().centroids[t];
        } else {
          store_.decode(t, rows.data() + row * dim());
        }
      }
    }
    if (!store_.codebook()) codebook_->assign(rows.data(), count, dim(), nearest.data() + first, 1);
  });
  return nearest;
}

void MultiVectorIndex::list_if_worth_it(size_t threads) {
  try {
    // Lists of a codebook that was made for a fraction of what there is now are too long.
    const bool outgrown = codebook_ && !codebook_given_ && lists_for(living_rows_) >= 4 * codebook_->size();
    if ((!list_codebook() && living_rows_ >= kFewTokens) || outgrown) {
      train_lists(threads);
      forget_lists();
    }
    if (spans_.empty()) forget_lists();
    if (!list_codebook()) return;
    if (lists_.empty()) {
      if (living_rows_ >= kTokensPerCentroid * list_codebook()->size()) list_all(threads);
      return;
    }
    size_t unlisted_rows = 0;
    for (const uint32_t number : unlisted_) {
      if (slot_of_[number] != kNoText) unlisted_rows += spans_[slot_of_[number]].count;
    }
    const bool many_dead = slot_of_.size() > 2 * spans_.size();
    if (unlisted_rows * kUnlistedPart > living_rows_ || many_dead) list_all(threads);
  } catch (const std::bad_alloc&) {
    // They stay unlisted, which only takes time.
  } catch (const Error&) {
    // A damaged file, as every search will say; what was asked for is done.
  }
}

void MultiVectorIndex::forget_lists() {
  lists_.clear();
  number_of_.clear();
  slot_of_.clear();
  unlisted_.clear();
}

// Numbers are slots afterwards.
void MultiVectorIndex::list_all(size_t threads) {
  opened_.check();  // a remove() need not have looked at what it is about to read
  std::vector<TokenLists::Text> added;
  std::vector<TokenSpan> rows;
  size_t first = 0;
  const auto add = [&](uint32_t slot) {
    added.push_back({slot, {first, spans_[slot].count}});
    rows.push_back(spans_[slot]);
    first += spans_[slot].count;
  };
  std::vector<uint32_t> slots(spans_.size());
  std::iota(slots.begin(), slots.end(), 0u);
  if (lists_.empty()) {
    for (const uint32_t slot : slots) add(slot);
  } else {
    for (const uint32_t number : unlisted_) {
      if (slot_of_[number] != kNoText) add(slot_of_[number]);
    }
  }
  const std::vector<uint16_t> nearest = nearest_centroids(rows, threads);
  std::vector<uint32_t> numbers = slots;
  lists_.update(list_codebook()->size(), slot_of_, added, nearest.data());
  number_of_ = std::move(numbers);
  slot_of_ = std::move(slots);
  unlisted_.clear();
}

void MultiVectorIndex::save_lists(Sections& out) const {
  if (codebook_) {
    out.view("list_codebook_codes", codebook_->centroids().codes(), dim());
    out.view("list_codebook_scales", codebook_->centroids().scales());
    out.view("list_codebook_offsets", codebook_->offsets());
    out.own("list_codebook_given", std::vector<uint8_t>{codebook_given_});
  }
  if (lists_.empty()) return;
  std::vector<uint32_t> unlisted;
  for (const uint32_t number : unlisted_) {
    if (slot_of_[number] != kNoText) unlisted.push_back(slot_of_[number]);
  }
  out.own("unlisted", std::move(unlisted));
  lists_.save(out, slot_of_);
}

void MultiVectorIndex::restore_lists(const Container& file) {
  const auto offsets = file.read<uint32_t>("list_codebook_offsets");
  if (!offsets.empty()) {
    require(!residual_, "list_codebook: this codec has its own");
    const auto scales = file.read<uint16_t>("list_codebook_scales");
    const auto codes = file.read<uint8_t>("list_codebook_codes");
    codebook_ = std::make_unique<Codebook>(
        Centroids(dim(), {codes.begin(), codes.end()}, {scales.begin(), scales.end()}),
        std::vector<uint32_t>(offsets.begin(), offsets.end()));
    codebook_given_ = file.copy<uint8_t>("list_codebook_given", 1)[0] != 0;
  }
  if (file.view<int64_t>("list_offsets").empty()) return;
  require(list_codebook(), "list_offsets: lists without a codebook");
  require(!spans_.empty(), "list_offsets: lists of no texts");
  lists_.restore(file, list_codebook()->size());
  const auto texts = static_cast<uint32_t>(spans_.size());
  slot_of_.resize(texts);
  std::iota(slot_of_.begin(), slot_of_.end(), 0u);
  number_of_ = slot_of_;
  const auto unlisted = file.read<uint32_t>("unlisted");
  std::vector<bool> seen(texts);
  for (const uint32_t text : unlisted) {
    require(text < texts && !seen[text], "unlisted: text ", text, " of ", texts, ", or twice");
    seen[text] = true;
  }
  unlisted_.assign(unlisted.begin(), unlisted.end());
}

}  // namespace tercet
