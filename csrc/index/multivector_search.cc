// How a MultiVectorIndex answers: by comparing with all texts, or with those that its lists name.
#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "index/multivector.h"

namespace tercet {
namespace {

// Centroids that a token of a query looks at, where there are 8 sqrt(n) of them for n tokens and this many
// texts are scored.
constexpr double kProbes = 16;
constexpr size_t kCandidates = 256;
// Without a number of candidates, so many are scored first, then as many again, and so on.
constexpr size_t kFirstCandidates = 160;
constexpr size_t kMostProbes = 128;

}  // namespace

struct MultiVectorIndex::Plan {
  const TokenRows& queries;
  size_t k;
  Effort effort;
  size_t threads;
  std::vector<std::vector<Candidate>> hits;  // of each query
};

// Rows [begin, end) of queries, one after the other.
static std::vector<float> dense_rows(const TokenRows& queries, size_t begin, size_t end, uint32_t dim) {
  std::vector<float> rows((end - begin) * dim);
  for (size_t r = begin; r < end; ++r) {
    const float* const row = queries.values + r * queries.stride;
    std::copy(row, row + dim, rows.data() + (r - begin) * dim);
  }
  return rows;
}

void MultiVectorIndex::scan(Plan& plan, size_t first, size_t n, const Slots* slots, size_t threads) const {
  const TokenRows& queries = plan.queries;
  std::vector<TokenSpan> listed;
  if (slots) {
    for (const uint32_t slot : *slots) listed.push_back(spans_[slot]);
  }
  const std::vector<TokenSpan>& texts = slots ? listed : spans_;
  const size_t kept = std::min(plan.k, texts.size());
  if (kept == 0) return;
  const BetterThan better{&ids_};
  const size_t begin = queries.offsets[first];
  std::vector<size_t> offsets(n + 1, 0);
  for (size_t q = 0; q < n; ++q) offsets[q + 1] = queries.offsets[first + q + 1] - begin;
  const std::vector<float> rows = dense_rows(queries, begin, begin + offsets[n], dim());
  const PackedQueries packed = store_.bind(rows.data(), offsets[n]);
  ScanRows tokens;
  tokens.rows = store_.view();
  constexpr size_t kBlockTexts = 64;
  std::vector<std::vector<TopK>> best(scan_maxsim_workers(texts.size(), threads));
  scan_maxsim({packed, offsets}, tokens, texts.data(), texts.size(), threads,
              [&](size_t worker, size_t first_text, size_t count, const float* scores) {
                if (best[worker].empty()) best[worker].assign(n, TopK(kept, kBlockTexts));
                for (size_t q = 0; q < n; ++q) {
                  TopK& own = best[worker][q];
                  for (size_t i = 0; i < count; ++i) {
                    const float score = scores[q * count + i];
                    if (!(score >= own.threshold())) continue;
                    const size_t text = first_text + i;
                    own.push({score, slots ? (*slots)[text] : static_cast<uint32_t>(text)});
                  }
                  own.make_room(better);
                }
              });
  for (size_t q = 0; q < n; ++q) {
    std::vector<TopK*> parts;
    for (auto& own : best) {
      if (!own.empty()) parts.push_back(&own[q]);
    }
    plan.hits[first + q] = merge_topk(parts, kept, better);
  }
}

// Groups of queries bound the scratch of the scan.
void MultiVectorIndex::scan_in_groups(Plan& plan, size_t first, size_t n, const Slots* slots) const {
  // That of residuals is mostly the scores of centroids.
  const size_t centroids = store_.codebook() ? store_.codebook()->size() : 1;
  const size_t group_rows = std::clamp<size_t>((size_t{16} << 20) / centroids, kPanelRows, 2048);
  const std::vector<size_t>& offsets = plan.queries.offsets;
  for (const size_t end = first + n; first < end;) {
    size_t count = 1;
    while (first + count < end && offsets[first + count + 1] - offsets[first] <= group_rows) ++count;
    scan(plan, first, count, slots, plan.threads);
    first += count;
  }
}

// Where the centroids are finer, or few texts are allowed, a token looks at more of them.
size_t MultiVectorIndex::probes(size_t candidates, size_t allowed_texts) const {
  const auto centroids = static_cast<double>(list_codebook()->size());
  const auto ratio = [](size_t a, size_t b) { return static_cast<double>(a) / static_cast<double>(b); };
  double probes = kProbes * std::max(1.0, centroids / (8 * std::sqrt(static_cast<double>(living_rows_))));
  probes *= std::max(1.0, ratio(candidates, kCandidates));
  probes *= std::min(8.0, ratio(spans_.size(), allowed_texts));
  return static_cast<size_t>(std::min({probes, centroids, static_cast<double>(kMostProbes)}));
}

bool MultiVectorIndex::worth_gathering(const Plan& plan, size_t allowed_texts) const {
  if (plan.effort.exact || lists_.empty()) return false;
  if (plan.effort.candidates) return plan.effort.candidates < allowed_texts;
  // Both ways are mostly tokens compared; the gathering adds as many centroids, and its own time, which
  // measured is about that of the texts it names.
  const size_t tokens = living_rows_ / spans_.size();
  return tokens * allowed_texts > 2 * (list_codebook()->size() + tokens * std::max(kCandidates, 4 * plan.k));
}

std::vector<Candidate> MultiVectorIndex::gather(const Plan& plan, size_t query, const BitSet* allowed,
                                                size_t probes) const {
  const size_t begin = plan.queries.offsets[query], end = plan.queries.offsets[query + 1];
  const std::vector<float> rows = dense_rows(plan.queries, begin, end, dim());
  const Codebook& codebook = *list_codebook();
  ScanRows centroids;
  centroids.rows = codebook.rows();
  // One more says what a text may have that is in none of the lists.
  const auto nearest =
      scan_topk(codebook.bind(rows.data(), end - begin), centroids, probes + 1, TieBreak(), 1);

  std::unique_ptr<TokenLists::Scratch> scratch = take_scratch();
  lists_.gather(nearest, slot_of_.size(), *scratch);
  std::vector<Candidate> found;
  for (const uint32_t number : scratch->touched) {
    const uint32_t slot = slot_of_[number];
    if (slot == kNoText || (allowed && !allowed->has(slot))) continue;
    found.push_back({scratch->sums[number].gain, slot});
  }
  TokenLists::clear(*scratch);
  give_scratch(std::move(scratch));

  return found;
}

// Scores what the lists have found, best first. With a number of candidates, so many; without, twice as many
// again and again until that brings nothing more into the best k. An easy query is content with 320; hard
// ones, of collections of many alike, go on to thousands, where any fixed number is too few or too many.
// Measured on one that is hard (5 million tokens, int8, 128 first): 97.4 % of the best ten in 3.1 ms, where
// 754 candidates take 3.9 ms for as many; with 8 in place of 16 probes 95.6 % in 2.8 ms. On an easy one
// (571,000 tokens) 160 first find 98.1 % with int4 and 99.0 % with int8, 128 first 97.9 and 98.9 % in a sixth
// less time.
void MultiVectorIndex::score_found(Plan& plan, size_t query, std::vector<Candidate> found,
                                   const BitSet* allowed, size_t threads) const {
  const size_t given = plan.effort.candidates, k = plan.k;
  const BetterThan better{&ids_};
  Slots slots;  // first with those that no list can find
  for (const uint32_t number : unlisted_) {
    const uint32_t slot = slot_of_[number];
    if (slot != kNoText && (!allowed || allowed->has(slot))) slots.push_back(slot);
  }
  std::vector<Candidate> best;
  size_t scored = 0;
  for (size_t wanted = given ? given : std::max(kFirstCandidates, 2 * k);; wanted *= 2) {
    const size_t end = std::min(wanted, found.size());
    const auto at = [&](size_t i) { return found.begin() + static_cast<long>(i); };
    if (end < found.size()) std::nth_element(at(scored), at(end), found.end(), better);
    for (size_t i = scored; i < end; ++i) slots.push_back(found[i].row);
    std::sort(slots.begin(), slots.end());  // in the order of memory, mostly
    plan.hits[query].clear();
    scan(plan, query, 1, &slots, threads);
    slots.clear();
    std::vector<Candidate>& more = plan.hits[query];
    std::vector<Candidate> merged(best.size() + more.size());
    std::merge(best.begin(), best.end(), more.begin(), more.end(), merged.begin(), better);
    merged.resize(std::min(k, merged.size()));
    const bool changed = merged.size() != best.size() ||
                         !std::equal(merged.begin(), merged.end(), best.begin(),
                                     [](const Candidate& a, const Candidate& b) { return a.row == b.row; });
    best = std::move(merged);
    scored = end;
    if (given || scored == found.size() || !changed) break;
  }
  plan.hits[query] = std::move(best);
}

std::unique_ptr<TokenLists::Scratch> MultiVectorIndex::take_scratch() const {
  const std::lock_guard<std::mutex> lock(scratch_mutex_);
  if (scratch_.empty()) return std::make_unique<TokenLists::Scratch>();
  std::unique_ptr<TokenLists::Scratch> scratch = std::move(scratch_.back());
  scratch_.pop_back();
  return scratch;
}

void MultiVectorIndex::give_scratch(std::unique_ptr<TokenLists::Scratch> scratch) const {
  const std::lock_guard<std::mutex> lock(scratch_mutex_);
  scratch_.push_back(std::move(scratch));
}

// Queries [first, first + n), which share a filter. What it allows is listed only if all of it is scored: a
// search by lists must not take time for each text that there is.
void MultiVectorIndex::answer(Plan& plan, size_t first, size_t n, const Filter& filter) const {
  const bool some = !std::holds_alternative<std::monostate>(filter);
  const BitSet set = some ? allowed_set(filter, ids_) : BitSet();
  const size_t allowed = some ? set.count() : spans_.size();
  const auto with_allowed = [&](const auto& scan_these) {
    if (!some) return scan_these(nullptr);
    const Slots slots = set.list();
    scan_these(&slots);
  };
  if (!worth_gathering(plan, allowed)) {
    return with_allowed([&](const Slots* slots) { scan_in_groups(plan, first, n, slots); });
  }
  const size_t looked_at = probes(plan.effort.candidates, allowed);
  const auto gather_one = [&](size_t q, size_t threads) {
    const BitSet* const wanted = some ? &set : nullptr;
    score_found(plan, q, gather(plan, q, wanted, looked_at), wanted, threads);
    if (plan.hits[q].size() >= std::min(plan.k, allowed)) return;
    with_allowed([&](const Slots* slots) { scan(plan, q, 1, slots, threads); });
  };
  if (n == 1) return gather_one(first, plan.threads);
  parallel_for(n, plan.threads, [&](size_t i, size_t) { gather_one(first + i, 1); });
}

Results MultiVectorIndex::search(const TokenRows& queries, size_t k, const Filters& filters, Effort effort,
                                 size_t threads) const {
  const size_t total = queries.offsets.back(), count = queries.count();
  check_values(queries.values, queries.stride, total, dim(), limit(), "queries", threads);
  check_filters(filters, count);
  for (size_t q = 0; q < count; ++q) {
    require(queries.offsets[q + 1] > queries.offsets[q], "queries: query ", q, " has no tokens");
  }

  std::shared_lock lock(mutex_);
  opened_.check();
  Plan plan{queries, k, effort, threads, std::vector<std::vector<Candidate>>(count)};
  if (filters.size() <= 1) {
    answer(plan, 0, count, filters.empty() ? Filter() : filters[0]);
  } else {
    for (size_t q = 0; q < count; ++q) answer(plan, q, 1, filters[q]);
  }
  return make_results(plan.hits, k, ids_);
}

}  // namespace tercet
