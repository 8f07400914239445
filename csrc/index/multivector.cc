#include "index/multivector.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <mutex>
#include <numeric>

#include "codec/kmeans.h"
#include "core/error.h"
#include "core/parallel.h"
#include "index/saved.h"

namespace tercet {

namespace {

// As PLAID chooses (Santhanam et al. 2022): 16 sqrt(n), down to a power of two. Of few tokens fewer, since
// each centroid takes memory as well.
size_t default_centroids(size_t tokens) {
  size_t count = 1;
  while (count * 2 <=
             std::min<double>(16 * std::sqrt(static_cast<double>(tokens)), static_cast<double>(tokens) / 4) &&
         count < Codebook::kMost)
    count *= 2;
  return count;
}

}  // namespace

MultiVectorIndex::MultiVectorIndex(uint32_t dim, const std::string& codec, uint64_t seed)
    : MultiVectorIndex(make_residual_codec(codec, dim, seed), codec, dim, seed) {}

MultiVectorIndex::MultiVectorIndex(std::unique_ptr<Codec> residual, const std::string& codec, uint32_t dim,
                                   uint64_t seed)
    : residual_(residual != nullptr),
      seed_(seed),
      store_(residual ? std::move(residual) : make_codec(codec, dim, seed), dim) {}

void MultiVectorIndex::train(const TokenRows& tokens, size_t centroids, int iterations, size_t threads,
                             Steps* steps) {
  const size_t total = tokens.offsets.back();
  require(total > 0, "vectors: expected tokens to train on, got none");
  check_values(tokens.values, tokens.stride, total, dim(), limit(), "vectors", threads);
  std::unique_lock lock(mutex_);
  require(!list_codebook(), "this index is trained already");
  opened_.check();
  if (residual_) {
    train_on(tokens, centroids, iterations, threads, steps);
  } else {
    codebook_ = std::make_unique<Codebook>(
        train_codebook(tokens.values, total, tokens.stride, dim(),
                       {centroids ? centroids : lists_for(total), iterations, seed_, threads, steps}));
    codebook_given_ = true;
  }
  list_if_worth_it(threads);
}

void MultiVectorIndex::train_on(const TokenRows& tokens, size_t centroids, int iterations, size_t threads,
                                Steps* steps) {
  const size_t total = tokens.offsets.back();
  store_.train(tokens.values, total, tokens.stride,
               {centroids ? centroids : default_centroids(total), iterations, seed_, threads, steps});
}

void MultiVectorIndex::grow(const TokenRows& tokens, size_t centroids, int iterations, size_t threads) {
  const size_t total = tokens.offsets.back();
  require(total > 0, "vectors: expected tokens to train on, got none");
  check_values(tokens.values, tokens.stride, total, dim(), limit(), "vectors", threads);
  std::unique_lock lock(mutex_);
  require(residual_ && store_.codebook(), "this index has no centroids that could become more");
  const size_t room = Codebook::kMost - store_.codebook()->size();
  require(room > 0, "this index has ", Codebook::kMost, " centroids, and cannot have more");
  const size_t wanted = centroids ? centroids : std::min(default_centroids(total), room);
  store_.grow(tokens.values, total, tokens.stride, {wanted, iterations, seed_, threads});
  lists_.extend(store_.codebook()->size());
}

double MultiVectorIndex::mean_residual() const {
  std::shared_lock lock(mutex_);
  opened_.check();
  return store_.mean_residual();
}

float MultiVectorIndex::limit() const {
  static_assert(kMaxScored <= kMaxClusterMagnitude);  // more could not be assigned to centroids
  return std::min(kMaxScored, store_.codec().max_magnitude());
}

size_t MultiVectorIndex::num_centroids() const {
  std::shared_lock lock(mutex_);
  return list_codebook() ? list_codebook()->size() : 0;
}

Ids MultiVectorIndex::add(const TokenRows& tokens, std::optional<Ids> given, size_t threads) {
  const size_t count = tokens.count(), total = tokens.offsets.back();
  check_values(tokens.values, tokens.stride, total, dim(), limit(), "vectors", threads);
  std::unique_lock lock(mutex_);
  Ids ids = given ? std::move(*given) : ids_.next_ids(count);
  require(count_of(ids) == count, "ids: expected ", count, ", one per document, got ", count_of(ids));
  const std::vector<uint32_t> slots = ids_.slots_for_add(ids);
  opened_.check();
  const size_t first_row = store_.rows();
  // All that can fail comes before anything changes.
  std::vector<uint16_t> centroids(residual_ ? total : 0);
  if (residual_ && total) {
    if (!store_.codebook()) train_on(tokens, 0, KMeans{}.iterations, threads, nullptr);
    store_.codebook()->assign(tokens.values, total, tokens.stride, centroids.data(), threads);
  }
  make_room_for(count, total);
  constexpr size_t kRows = 256;
  const std::function<void(size_t, size_t)> encode_some = [&](size_t task, size_t) {
    for (size_t row = task * kRows; row < std::min((task + 1) * kRows, total); ++row) {
      store_.encode(first_row + row, tokens.values + row * tokens.stride, residual_ ? centroids[row] : 0);
    }
  };
  ids_.add(ids, slots);
  opened_.release();
  store_.resize(first_row + total);
  place(slots, first_row, tokens.offsets);
  parallel_for((total + kRows - 1) / kRows, threads, encode_some);
  compact_if_worth_it();
  list_if_worth_it(threads);
  return ids;
}

void MultiVectorIndex::make_room_for(size_t texts, size_t rows) {
  store_.reserve(store_.rows() + rows);
  make_room(spans_, spans_.size() + texts);
  if (lists_.empty()) return;
  make_room(number_of_, spans_.size() + texts);
  make_room(slot_of_, slot_of_.size() + texts);
  make_room(unlisted_, unlisted_.size() + texts);
}

void MultiVectorIndex::place(const std::vector<uint32_t>& slots, size_t first_row,
                             const std::vector<size_t>& offsets) {
  const bool numbered = !lists_.empty();
  const size_t before = spans_.size();
  changes_ += slots.size();
  for (size_t i = 0; i < slots.size(); ++i) {
    const TokenSpan span{first_row + offsets[i], offsets[i + 1] - offsets[i]};
    if (slots[i] < before) {
      living_rows_ -= spans_[slots[i]].count;
      spans_[slots[i]] = span;
      if (numbered) slot_of_[number_of_[slots[i]]] = kNoText;
    } else {
      spans_.push_back(span);
      if (numbered) number_of_.push_back(kNoText);
    }
    if (numbered) {
      number_of_[slots[i]] = static_cast<uint32_t>(slot_of_.size());
      unlisted_.push_back(number_of_[slots[i]]);
      slot_of_.push_back(slots[i]);
    }
    living_rows_ += span.count;
  }
}

void MultiVectorIndex::remove(const Ids& ids) {
  std::unique_lock lock(mutex_);
  std::vector<uint32_t> slots = ids_.slots_once(ids);
  // From the back, so that the last text, which moves into the hole, is never one still to be removed.
  std::sort(slots.begin(), slots.end(), std::greater<>());
  changes_ += slots.size();
  for (const uint32_t slot : slots) {
    ids_.remove(slot);
    living_rows_ -= spans_[slot].count;
    spans_[slot] = spans_.back();
    spans_.pop_back();
    if (lists_.empty()) continue;
    slot_of_[number_of_[slot]] = kNoText;
    number_of_[slot] = number_of_.back();
    number_of_.pop_back();
    if (slot < number_of_.size()) slot_of_[number_of_[slot]] = slot;
  }
  compact_if_worth_it();
  list_if_worth_it(0);
}

void MultiVectorIndex::compact_if_worth_it() {
  if (store_.rows() - living_rows_ <= living_rows_) return;
  std::vector<uint32_t> order;
  try {
    order.resize(spans_.size());
    opened_.check();
    store_.reserve(store_.rows());  // rows move
    opened_.release();
  } catch (const std::exception&) {
    return;  // no memory, or a damaged file: what was asked for is done
  }
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return spans_[a].begin < spans_[b].begin; });
  size_t row = 0;
  for (const uint32_t slot : order) {
    store_.move(spans_[slot].begin, row, spans_[slot].count);
    spans_[slot].begin = row;
    row += spans_[slot].count;
  }
  store_.resize(row);
}

MultiVectorIndex::Tokens MultiVectorIndex::get(const Ids& ids) const {
  std::shared_lock lock(mutex_);
  opened_.check();
  Tokens tokens;
  tokens.offsets.push_back(0);
  for (const uint32_t slot : ids_.slots_once(ids)) {
    const TokenSpan span = spans_[slot];
    const size_t row = static_cast<size_t>(tokens.offsets.back());
    tokens.values.resize((row + span.count) * dim());
    for (size_t t = 0; t < span.count; ++t)
      store_.decode(span.begin + t, tokens.values.data() + (row + t) * dim());
    tokens.offsets.push_back(static_cast<int64_t>(row + span.count));
  }
  return tokens;
}

bool MultiVectorIndex::contains(const Ids& one) const {
  std::shared_lock lock(mutex_);
  return ids_.contains(one);
}

Ids MultiVectorIndex::ids() const {
  std::shared_lock lock(mutex_);
  return ids_.ids();
}

size_t MultiVectorIndex::size() const {
  std::shared_lock lock(mutex_);
  return ids_.size();
}

size_t MultiVectorIndex::num_tokens() const {
  std::shared_lock lock(mutex_);
  return living_rows_;
}

size_t MultiVectorIndex::changes() const {
  std::shared_lock lock(mutex_);
  return changes_;
}

MultiVectorIndex::Bytes MultiVectorIndex::bytes_by_part() const {
  std::shared_lock lock(mutex_);
  const RowsView rows = store_.view();
  Bytes bytes{};
  bytes.codes = rows.rows * rows.stride;
  if (rows.scales) bytes.scales = rows.rows * sizeof(uint16_t);
  if (rows.centroids) bytes.centroids = rows.rows * sizeof(uint16_t);
  bytes.codebook = store_.bytes() - bytes.codes - bytes.scales - bytes.centroids;
  if (codebook_) bytes.codebook += codebook_->bytes();
  bytes.lists = lists_.bytes() + unlisted_.size() * sizeof(uint32_t);
  bytes.documents =
      spans_.size() * sizeof(TokenSpan) + (number_of_.size() + slot_of_.size()) * sizeof(uint32_t);
  bytes.ids = ids_.bytes();
  return bytes;
}

void MultiVectorIndex::save(const SaveTo& to) const {
  std::shared_lock lock(mutex_);
  opened_.check();
  Sections out;
  save_ids(out, ids_);
  std::vector<int64_t> offsets{0};
  for (const TokenSpan& span : spans_) offsets.push_back(offsets.back() + static_cast<int64_t>(span.count));
  out.own("offsets", std::move(offsets));
  store_.save(out, spans_);
  save_lists(out);
  to(out);
}

void MultiVectorIndex::restore(std::shared_ptr<const Container> file) {
  std::unique_lock lock(mutex_);
  file->blame([&] {
    const SavedIds saved = restore_ids(*file);
    const size_t count = count_of(saved.ids);
    const std::vector<int64_t> offsets = file->copy<int64_t>("offsets", count + 1);
    require(offsets[0] == 0 && std::is_sorted(offsets.begin(), offsets.end()), "offsets: expected ",
            count + 1, " rising from 0");
    const auto rows = static_cast<size_t>(offsets.back());
    const bool trained = !file->view<uint32_t>("codebook_offsets").empty();
    require(residual_ || !trained, "codebook: this codec has none");
    require(!residual_ || trained || rows == 0, "codebook: missing");
    store_.restore(*file, rows);
    spans_.clear();
    spans_.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      spans_.push_back(
          {static_cast<uint64_t>(offsets[i]), static_cast<uint64_t>(offsets[i + 1] - offsets[i])});
    }
    living_rows_ = rows;
    changes_ = count;
    restore_ids(ids_, saved);
    restore_lists(*file);
  });
  std::vector<std::string> payload = CodeStore::payload();
  if (!lists_.empty()) payload.push_back(TokenLists::kPayload);
  opened_.set(std::move(file), std::move(payload), [this, texts = slot_of_.size()] {
    store_.check_codes();
    lists_.check(texts, unlisted_);
  });
}

void MultiVectorIndex::verify() const {
  std::shared_lock lock(mutex_);
  opened_.verify();
}

}  // namespace tercet
