// Beam search: from a few entry nodes towards a query, always behind the best node not yet looked behind.
//
// A worker carries several searches at once and goes from one to the next whenever the next step needs memory
// that is not there yet: a hop asks for the row of neighbours, and then for the codes of those not seen
// before, about a hundred cache lines, and while they come the other searches compute.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "core/bits.h"
#include "index/hnsw/graph.h"
#include "index/hnsw/node_scores.h"
#include "index/hnsw/pool.h"
#include "index/hnsw/visited.h"

namespace tercet {

// One search in flight.
struct BeamSearch {
  Pool pool;
  NodeQuery query;
  // If not null, what the last layer may find; the pool may also hold nodes where it was entered. Nodes that
  // are not allowed are passed through: their neighbours stand in for them (Patel et al., "ACORN", 2024).
  const BitSet* allowed = nullptr;
  uint32_t unseen = kNoNode;  // a node that is treated as if it were not there
  size_t task = 0;

 private:
  friend struct Beam;
  enum class Step { neighbours, behind_neighbours, scores, done };
  Visited visited_;
  Step step_ = Step::done;
  size_t layer_ = 0;
  uint32_t node_ = kNoNode;               // whose neighbours are on their way
  uint32_t frontier_[NodeScores::kMost];  // whose codes are on their way
  size_t frontier_size_ = 0;
  uint32_t behind_[NodeScores::kMost];  // neighbours that are not allowed, whose rows are on their way
  size_t behind_size_ = 0;
};

// What a worker needs; belongs to one at a time.
struct BeamScratch {
  // Measured: 2 to 16 of them differ by a fifth; more than 5 push each other out of the caches.
  static constexpr size_t kInFlight = 4;
  std::vector<std::unique_ptr<BeamSearch>> searches;
};

// A graph, and how many of the best nodes a search in it keeps and looks behind: ef.
struct Layer {
  const Graph* graph;
  size_t width;
};

struct Beam {
  static constexpr size_t kEntries = 4;  // where a layer begins: at the best that the one before found

  const NodeScores& scores;
  std::vector<Layer> layers;      // the coarsest first; each begins where the one before ended
  std::vector<uint32_t> entries;  // where the first one begins, up to NodeScores::kMost

  // Runs tasks [first, first + count): begin(search) sets the query of search.task; done(search) finds the
  // best nodes in the pool. The result does not depend on what else is in flight.
  void run(size_t first, size_t count, BeamScratch& scratch, const std::function<void(BeamSearch&)>& begin,
           const std::function<void(BeamSearch&)>& done) const;

 private:
  void start(BeamSearch& search) const;
  // One step, up to where it has to wait for memory.
  void advance(BeamSearch& search) const;
  void take_neighbours(BeamSearch& search) const;
  void take_behind_neighbours(BeamSearch& search) const;
  void score_frontier(BeamSearch& search) const;
  void prefetch_row(const Graph& graph, uint32_t node) const;
  void next_node(BeamSearch& search) const;
  void next_layer(BeamSearch& search) const;
};

}  // namespace tercet
