#include "index/hnsw/beam.h"

#include <algorithm>

namespace tercet {
namespace {

// Where a layer begins: at the best that the one before found.
constexpr size_t kEntries = 4;

}  // namespace

void Beam::run(size_t first, size_t count, BeamScratch& scratch,
               const std::function<void(BeamSearch&)>& begin,
               const std::function<void(BeamSearch&)>& done) const {
  const size_t in_flight = std::min(count, BeamScratch::kInFlight);
  while (scratch.searches.size() < in_flight) scratch.searches.push_back(std::make_unique<BeamSearch>());
  size_t next = first, left = count;
  const auto fill = [&](BeamSearch& s) {
    if (next == first + count) return;
    s.task = next++;
    begin(s);
    start(s);
  };
  for (size_t i = 0; i < in_flight; ++i) fill(*scratch.searches[i]);
  while (left) {
    for (size_t i = 0; i < in_flight; ++i) {
      BeamSearch& s = *scratch.searches[i];
      if (s.step_ == BeamSearch::Step::done) continue;
      advance(s);
      if (s.step_ != BeamSearch::Step::done) continue;
      done(s);
      s.visited_.clear();
      --left;
      fill(s);
    }
  }
}

void Beam::start(BeamSearch& s) const {
  s.visited_.resize(layers.back().graph->nodes());
  s.layer_ = 0;
  float found[NodeScores::kMost];
  scores(s.query, entries.data(), entries.size(), found);
  s.pool.reset(kEntries);
  for (size_t i = 0; i < entries.size(); ++i) s.pool.insert(PoolEntry(found[i], entries[i]));
  next_layer(s);
}

// Goes on from what is in the pool.
void Beam::next_layer(BeamSearch& s) const {
  PoolEntry best[kEntries];
  const size_t count = std::min(s.pool.size(), kEntries);
  std::copy(s.pool.begin(), s.pool.begin() + count, best);
  s.visited_.clear();
  s.pool.reset(layers[s.layer_].width);
  for (size_t i = 0; i < count; ++i) {
    s.visited_.insert(best[i].node());
    s.pool.insert(PoolEntry(best[i].score(), best[i].node()));
  }
  next_node(s);
}

void Beam::advance(BeamSearch& s) const {
  switch (s.step_) {
    case BeamSearch::Step::neighbours:
      return take_neighbours(s);
    case BeamSearch::Step::behind_neighbours:
      return take_behind_neighbours(s);
    default:
      return score_frontier(s);
  }
}

void Beam::take_neighbours(BeamSearch& s) const {
  const Graph& graph = *layers[s.layer_].graph;
  const NodeBits* const allowed = s.layer_ + 1 == layers.size() ? s.allowed : nullptr;
  const uint32_t* const row = graph.row(s.node_);
  s.frontier_size_ = 0;
  s.behind_.clear();
  for (uint32_t i = 0; i < graph.degree() && row[i] != kNoNode; ++i) {
    if (allowed && !allowed->has(row[i])) {
      s.behind_.push_back(row[i]);
      prefetch_row(graph, row[i]);
    } else if (s.visited_.insert(row[i])) {
      s.frontier_[s.frontier_size_++] = row[i];
      scores.prefetch(row[i]);
    }
  }
  if (!s.behind_.empty() && s.frontier_size_ < graph.degree() * 3 / 4) {
    s.step_ = BeamSearch::Step::behind_neighbours;
  } else if (s.frontier_size_) {
    s.step_ = BeamSearch::Step::scores;
  } else {
    next_node(s);
  }
}

// As many as a node without forbidden neighbours would have, then a hop costs the same: three quarters of
// what there is room for. Half of it is faster, and loses more recall than that is worth.
void Beam::take_behind_neighbours(BeamSearch& s) const {
  const Graph& graph = *layers[s.layer_].graph;
  for (const uint32_t node : s.behind_) {
    const uint32_t* const row = graph.row(node);
    for (uint32_t i = 0; i < graph.degree() && row[i] != kNoNode; ++i) {
      if (s.frontier_size_ >= graph.degree() * 3 / 4) break;
      if (!s.allowed->has(row[i]) || !s.visited_.insert(row[i])) continue;
      s.frontier_[s.frontier_size_++] = row[i];
      scores.prefetch(row[i]);
    }
  }
  if (s.frontier_size_) {
    s.step_ = BeamSearch::Step::scores;
  } else {
    next_node(s);
  }
}

void Beam::score_frontier(BeamSearch& s) const {
  float found[NodeScores::kMost];
  scores(s.query, s.frontier_, s.frontier_size_, found);
  for (size_t i = 0; i < s.frontier_size_; ++i) s.pool.insert(PoolEntry(found[i], s.frontier_[i]));
  next_node(s);
}

void Beam::prefetch_row(const Graph& graph, uint32_t node) const {
  const uint32_t* const row = graph.row(node);
  for (uint32_t i = 0; i < graph.degree(); i += kCacheLine / sizeof(uint32_t)) prefetch_line(row + i);
}

void Beam::next_node(BeamSearch& s) const {
  s.node_ = s.pool.expand_next();
  if (s.node_ == kNoNode) {
    s.step_ = BeamSearch::Step::done;
    if (++s.layer_ < layers.size()) next_layer(s);
    return;
  }
  s.step_ = BeamSearch::Step::neighbours;
  prefetch_row(*layers[s.layer_].graph, s.node_);
}

}  // namespace tercet
