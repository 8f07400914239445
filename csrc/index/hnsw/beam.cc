#include "index/hnsw/beam.h"

#include <algorithm>

namespace tercet {
namespace {

// How many nodes a hop through forbidden ones asks for, where rows have room for `degree`. The more, the
// smaller the width that a recall needs: measured, where 10 to 50 % are allowed, with twice that many
// searches take 0.8 to 0.95 of the time with 5/4 of them, at the same recall; with thrice as many about as
// long.
size_t enough(const Graph& graph) { return std::min<size_t>(2 * graph.degree(), NodeScores::kMost); }

// How many rows of neighbours are on their way at once: where many nodes are allowed few are needed, and each
// that is not has taken the place of codes.
constexpr size_t kRowsAhead = 8;

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
  PoolEntry seen[NodeScores::kMost];
  size_t count = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i] != s.unseen) seen[count++] = PoolEntry(found[i], entries[i]);
  }
  // Where the only way in is the node that is not to be seen, it is passed through: run() would wait for ever
  // for a search that has nowhere to begin, and so is done before it is under way.
  if (count == 0) seen[count++] = PoolEntry(found[0], entries[0]);
  s.pool.reset(kEntries);
  s.pool.insert(seen, count);
  next_layer(s);
}

// Goes on from what is in the pool.
void Beam::next_layer(BeamSearch& s) const {
  PoolEntry best[kEntries];
  const size_t count = std::min(s.pool.size(), kEntries);
  std::copy(s.pool.begin(), s.pool.begin() + count, best);
  s.visited_.clear();
  if (s.unseen != kNoNode) s.visited_.insert(s.unseen);
  s.pool.reset(layers[s.layer_].width);
  for (size_t i = 0; i < count; ++i) {
    s.visited_.insert(best[i].node());
    best[i] = PoolEntry(best[i].score(), best[i].node());  // not looked behind here
  }
  s.pool.insert(best, count);
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
  const BitSet* const allowed = s.layer_ + 1 == layers.size() ? s.allowed : nullptr;
  const uint32_t* const row = graph.row(s.node_);
  const size_t count = graph.count(s.node_);
  s.behind_size_ = 0;
  if (allowed) {
    const size_t in = allowed->split(row, count, s.frontier_, s.behind_);
    s.frontier_size_ = s.visited_.insert(s.frontier_, in, s.frontier_);
    s.behind_size_ = s.visited_.keep_new(s.behind_, count - in);  // what is behind the others has been seen
    for (size_t i = 0; i < std::min(s.behind_size_, kRowsAhead); ++i) prefetch_row(graph, s.behind_[i]);
  } else {
    s.frontier_size_ = s.visited_.insert(row, count, s.frontier_);
  }
  // The node that is next unless one of these turns out better: a search alone would wait for its row.
  const uint32_t next = s.pool.next();
  if (next != kNoNode) prefetch_row(graph, next);
  for (size_t i = 0; i < s.frontier_size_; ++i) scores.prefetch(s.frontier_[i]);
  if (s.behind_size_ && s.frontier_size_ < enough(graph)) {
    s.step_ = BeamSearch::Step::behind_neighbours;
  } else if (s.frontier_size_) {
    s.step_ = BeamSearch::Step::scores;
  } else {
    next_node(s);
  }
}

void Beam::take_behind_neighbours(BeamSearch& s) const {
  const Graph& graph = *layers[s.layer_].graph;
  const size_t most = enough(graph);
  uint32_t in[NodeScores::kMost];
  for (size_t b = 0; b < s.behind_size_ && s.frontier_size_ < most; ++b) {
    const uint32_t node = s.behind_[b];
    if (b + kRowsAhead < s.behind_size_) prefetch_row(graph, s.behind_[b + kRowsAhead]);
    s.visited_.insert(node);
    const size_t found = s.allowed->keep(graph.row(node), graph.count(node), in);
    uint32_t* const frontier = s.frontier_ + s.frontier_size_;
    const size_t added = s.visited_.insert(in, std::min(found, most - s.frontier_size_), frontier);
    s.frontier_size_ += added;
    for (size_t i = 0; i < added; ++i) scores.prefetch(frontier[i]);
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
  // Most are worse than what the pool has, and are sorted out before anything depends on them.
  PoolEntry better[NodeScores::kMost];
  size_t count = 0;
  for (size_t i = 0; i < s.frontier_size_; ++i) {
    better[count] = PoolEntry(found[i], s.frontier_[i]);
    count += s.pool.takes(better[count]);
  }
  s.pool.insert(better, count);
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
