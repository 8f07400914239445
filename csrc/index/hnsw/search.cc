// How an HNSWIndex answers: by the graph, or where few vectors are allowed by comparing with all of them.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <utility>

#include "codec/quantise.h"
#include "core/error.h"
#include "core/parallel.h"
#include "index/hnsw/plan.h"
#include "index/metric.h"
#include "index/scan.h"

namespace tercet {
namespace {

// Nanoseconds, roughly: a row compared with one query where it lies, or copied and compared with several at
// once, each of which takes a little; and a node that the beam keeps, with all that is compared for it; with
// a filter, the rows of its neighbours' neighbours are read too. Only the choice between two right ways
// depends on them.
constexpr double kScanRow = 5, kScanByte = 1.0 / 60, kCopiedRow = 20, kRowOfMany = 1;
constexpr double kWalkNode = 300, kFilteredNode = 1700;

// Nodes in the order of their ids. Of those that are removed none is compared.
class NodeTies final : public TieBreak {
 public:
  NodeTies(const IdTable& ids, const std::vector<uint32_t>& slot_of) : ids_(ids), slot_of_(slot_of) {}
  bool before(uint32_t a, uint32_t b) const override { return ids_.before(slot_of_[a], slot_of_[b]); }

 private:
  const IdTable& ids_;
  const std::vector<uint32_t>& slot_of_;
};

}  // namespace

bool HNSWIndex::scan_is_faster(size_t allowed, size_t queries, size_t width, bool filtered) const {
  const auto n = static_cast<double>(queries);
  const double row = filtered && queries == 1 ? kScanRow + kScanByte * static_cast<double>(rows().stride)
                                              : kCopiedRow + kRowOfMany * n;
  return static_cast<double>(allowed) * row <
         (filtered ? kFilteredNode : kWalkNode) * static_cast<double>(width) * n;
}

std::unique_ptr<BeamScratch> HNSWIndex::take_scratch() const {
  const std::lock_guard<std::mutex> lock(scratch_mutex_);
  if (scratch_.empty()) return std::make_unique<BeamScratch>();
  std::unique_ptr<BeamScratch> scratch = std::move(scratch_.back());
  scratch_.pop_back();
  return scratch;
}

void HNSWIndex::give_scratch(std::unique_ptr<BeamScratch> scratch) const {
  const std::lock_guard<std::mutex> lock(scratch_mutex_);
  scratch_.push_back(std::move(scratch));
}

// The best k of what is in `hits`, by the float32 vectors if they are kept, in the order of scores and ids.
void HNSWIndex::rescore(const float* query, Hits& hits, size_t k) const {
  if (keeps_originals_) {
    const auto pair = metric_ == Metric::l2 ? kernels().pair_float32_l2 : kernels().pair_float32;
    for (const Candidate& c : hits) {
      const float* const row = originals_.data() + size_t{c.row} * dim();
      for (size_t i = 0; i < dim(); i += kCacheLine / sizeof(float)) prefetch_line(row + i);
    }
    for (Candidate& c : hits) c.score = pair(query, originals_.data() + size_t{c.row} * dim(), dim());
  } else if (metric_ == Metric::l2) {  // what the codes lack of a distance
    const auto offset = static_cast<float>(squared_norm(query, dim()));
    for (Candidate& c : hits) c.score = std::min(c.score - offset, 0.0f);
  }
  for (Candidate& c : hits) c.row = slot_of_[c.row];
  const size_t kept = std::min(k, hits.size());
  std::partial_sort(hits.begin(), hits.begin() + static_cast<long>(kept), hits.end(), BetterThan{&ids_});
  hits.resize(kept);
}

// `codes` has room for a row.
NodeQuery HNSWIndex::encode_query(const float* query, int8_t* codes) const {
  const float scale = largest_magnitude(query, dim()) / 127;
  quantise(query, dim(), scale, 0, reinterpret_cast<uint8_t*>(codes));
  return {codes, -128 * std::accumulate(codes, codes + dim(), 0), (has_bias() ? 2 : 1) * scale};
}

// One query and the codes of what is allowed, which are read where they lie. That they are copied side by
// side first, for a panel of queries to pass over, pays for several queries only.
HNSWIndex::Hits HNSWIndex::scan_in_place(const Plan& plan) const {
  constexpr size_t kChunk = 4096, kBlock = 16;
  constexpr size_t kAhead = 8 * 1024;  // bytes asked for before they are needed: each row is somewhere else
  const std::vector<uint32_t> nodes = plan.allowed->list();
  const NodeScores scores(rows());
  std::vector<int8_t> codes(dim());
  const NodeQuery query = encode_query(plan.queries + plan.first * dim(), codes.data());
  const size_t ahead = std::max<size_t>(kAhead / scores.bytes_of_row(), 3);
  const size_t chunks = (nodes.size() + kChunk - 1) / kChunk;
  std::vector<Pool> pools(worker_count(chunks, plan.threads));
  for (Pool& pool : pools) pool.reset(std::min(kRescored * plan.k, nodes.size()));
  parallel_for(chunks, plan.threads, [&](size_t chunk, size_t worker) {
    const size_t end = std::min((chunk + 1) * kChunk, nodes.size());
    float found[kBlock];
    PoolEntry better[kBlock];
    Pool& pool = pools[worker];
    for (size_t begin = chunk * kChunk; begin < end; begin += kBlock) {
      const size_t count = std::min(kBlock, end - begin);
      const size_t next = begin + ahead;
      for (size_t i = next; i < std::min(next + kBlock, nodes.size()); ++i) scores.prefetch(nodes[i]);
      scores(query, &nodes[begin], count, found);
      size_t taken = 0;
      for (size_t i = 0; i < count; ++i) {
        better[taken] = PoolEntry(found[i], nodes[begin + i]);
        taken += pool.takes(better[taken]);
      }
      pool.insert(better, taken);
    }
  });
  for (size_t i = 1; i < pools.size(); ++i) {
    std::vector<PoolEntry> found(pools[i].begin(), pools[i].end());
    pools[0].insert(found.data(), found.size());
  }
  Hits hits;
  for (const PoolEntry& entry : pools[0]) hits.push_back({entry.score(), entry.node()});
  return hits;
}

void HNSWIndex::scan(const Plan& plan, std::vector<Hits>& hits) const {
  const uint32_t d = dim();
  const float* const queries = plan.queries + plan.first * d;
  const bool by_codes = codes_ && !(plan.exact && keeps_originals_);
  if (by_codes && plan.allowed && plan.count == 1) {
    hits[plan.first] = scan_in_place(plan);
    return rescore(queries, hits[plan.first], plan.k);
  }
  ScanRows source;
  source.rows = rows();
  std::vector<uint32_t> allowed;
  if (plan.allowed) {
    allowed = plan.allowed->list();
    source.list = allowed.data();
    source.list_size = allowed.size();
  }
  std::vector<std::vector<Candidate>> found;
  if (!by_codes) {
    source.rows = vectors();
    const PackedQueries packed(
        {reinterpret_cast<const uint8_t*>(queries), plan.count, d * sizeof(float), d, source.rows.format});
    found = scan_topk(packed, source, plan.k, NodeTies(ids_, slot_of_), plan.threads);
  } else {
    std::vector<float> doubled(queries, queries + plan.count * d);
    for (size_t i = 0; has_bias() && i < doubled.size(); ++i) doubled[i] *= 2;
    found = scan_topk(codes_->codec().bind(doubled.data(), plan.count, d), source, kRescored * plan.k,
                      NodeTies(ids_, slot_of_), plan.threads);
  }
  parallel_for(plan.count, plan.threads, [&](size_t i, size_t) {
    hits[plan.first + i] = std::move(found[i]);
    rescore(queries + i * d, hits[plan.first + i], plan.k);
  });
}

void HNSWIndex::walk(const Plan& plan, const std::function<void(size_t query, const Pool&)>& done) const {
  const uint32_t d = dim();
  const NodeScores scores(rows());
  // Where it begins need not be allowed, and takes up room all the same.
  const Beam beam = layers_.beam(scores, std::max(plan.ef, plan.k) + (plan.allowed ? Beam::kEntries : 0));
  // As many tasks as there are threads, so that each has several searches in flight.
  const size_t workers = worker_count(plan.count, plan.threads);
  const size_t share = std::clamp<size_t>((plan.count + workers - 1) / workers, 1, 256);
  parallel_for((plan.count + share - 1) / share, plan.threads, [&](size_t task, size_t) {
    const size_t begin = plan.first + task * share, n = std::min(share, plan.first + plan.count - begin);
    std::unique_ptr<BeamScratch> scratch = take_scratch();
    std::vector<int8_t> codes(codes_ ? n * d : 0);
    beam.run(
        0, n, *scratch,
        [&](BeamSearch& search) {
          const float* const query = plan.queries + (begin + search.task) * d;
          search.query = {query};
          if (codes_) search.query = encode_query(query, codes.data() + search.task * d);
          search.allowed = plan.allowed;
          search.unseen = plan.unseen ? plan.unseen[begin + search.task] : kNoNode;
        },
        [&](BeamSearch& search) { done(begin + search.task, search.pool); });
    give_scratch(std::move(scratch));
  });
}

void HNSWIndex::walk(const Plan& plan, std::vector<Hits>& hits) const {
  walk(plan, [&](size_t query, const Pool& pool) {
    Hits& own = hits[query];
    own.clear();
    for (const PoolEntry& entry : pool) {
      if (own.size() == kRescored * plan.k) break;
      if (plan.allowed && !plan.allowed->has(entry.node())) continue;
      if (plan.unseen && plan.unseen[query] == entry.node()) continue;  // where the search began
      own.push_back({entry.score(), entry.node()});
    }
    rescore(plan.queries + query * dim(), own, plan.k);
  });
}

BitSet HNSWIndex::allowed_nodes(const Filter& filter) const {
  if (slots_are_nodes_) {
    BitSet nodes = allowed_set(filter, ids_);
    nodes.resize(most_nodes());
    return nodes;
  }
  BitSet nodes;
  nodes.resize(most_nodes());
  for (const uint32_t slot : allowed_slots(filter, ids_)) nodes.insert(node_of_[slot]);
  return nodes;
}

Results HNSWIndex::search(const float* queries, size_t count, size_t k, const Filters& filters, size_t ef,
                          bool exact, size_t threads) const {
  const uint32_t d = dim();
  check_values(queries, d, count, d, limit(), "queries", threads);
  check_filters(filters, count);
  std::vector<float> prepared(queries, queries + count * d);
  for (size_t q = 0; q < count && metric_ == Metric::cosine; ++q) {
    normalise(prepared.data() + q * d, d, prepared.data() + q * d);
  }

  const std::shared_lock lock(mutex_);
  opened_.check();
  std::vector<Hits> hits(count);
  const auto answer = [&](size_t first, size_t n, const Filter* filter) {
    Plan plan{prepared.data(), first, n, k, ef, nullptr, exact, threads};
    BitSet allowed;
    size_t allowed_count = node_of_.size();
    if (filter && !std::holds_alternative<std::monostate>(*filter)) {
      allowed = allowed_nodes(*filter);
      allowed_count = allowed.count();
      plan.allowed = &allowed;
    } else if (node_of_.size() != most_nodes()) {
      plan.allowed = &live_;
    }
    if (allowed_count == 0) return;
    const size_t width = std::max(ef, k);
    plan.exact |= width >= allowed_count;
    if (plan.exact || scan_is_faster(allowed_count, n, width, plan.allowed)) return scan(plan, hits);
    walk(plan, hits);
    // Where the graph did not lead to enough of what is allowed.
    for (size_t q = first; q < first + n; ++q) {
      if (hits[q].size() >= std::min(k, allowed_count)) continue;
      Plan again = plan;
      again.first = q;
      again.count = 1;
      scan(again, hits);
    }
  };
  if (filters.size() <= 1) {
    answer(0, count, filters.empty() ? nullptr : &filters[0]);
  } else {
    for (size_t q = 0; q < count; ++q) answer(q, 1, &filters[q]);
  }
  return make_results(hits, k, ids_);
}

Results HNSWIndex::search_held_out(const Ids& ids, size_t k, size_t ef, size_t threads) const {
  std::vector<float> vectors = get(ids);
  const uint32_t d = dim();
  for (size_t i = 0; metric_ == Metric::cosine && i < vectors.size(); i += d) {
    normalise(vectors.data() + i, d, vectors.data() + i);  // codes stand for vectors of about length 1
  }
  const std::shared_lock lock(mutex_);
  std::vector<uint32_t> nodes;
  for (const uint32_t slot : ids_.slots_of(ids)) nodes.push_back(node_of_[slot]);
  std::vector<Hits> hits(nodes.size());
  Plan plan{vectors.data(), 0, nodes.size(), k, ef, nullptr, false, threads};
  plan.unseen = nodes.data();
  if (node_of_.size() != most_nodes()) plan.allowed = &live_;
  if (!scan_is_faster(node_of_.size(), 1, std::max(ef, k), plan.allowed)) {
    walk(plan, hits);
  } else {  // as search() would each of them; a small graph falls apart without one of its nodes
    plan.k = k + 1;
    scan(plan, hits);
    for (size_t q = 0; q < nodes.size(); ++q) {
      std::erase_if(hits[q], [&](const Candidate& c) { return c.row == slot_of_[nodes[q]]; });
      hits[q].resize(std::min(k, hits[q].size()));
    }
  }
  return make_results(hits, k, ids_);
}

}  // namespace tercet
