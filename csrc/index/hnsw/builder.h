// Puts nodes into a graph, in batches: every node of a batch is searched for in the graph as it was before,
// and compared with the rest of the batch; then all get their neighbours, and become neighbours of those. The
// result is a function of the rows and the options, not of the threads (Dobson et al., "ParlayANN", 2024,
// insert so). Finding neighbours only reads the graph; linking changes it.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "core/bits.h"
#include "core/topk.h"
#include "index/hnsw/beam.h"

namespace tercet {

struct BuildOptions {
  size_t width = 100;  // of the beam search: ef_construction
  // How much closer a neighbour must be to stand in for another, of squared distances. Measured on text
  // embeddings and on GloVe: 1.1 is ahead of 1.0, 1.05, 1.2 and 1.35 at every width of searches.
  float alpha = 1.1f;
  size_t threads = 0;
};

class GraphBuilder {
 public:
  // `above`: the layers above this one, which have been built already, and where they are entered.
  GraphBuilder(Graph& graph, const NodeScores& scores, Metric metric, const BuildOptions& options,
               std::vector<Layer> above, std::vector<uint32_t> entries)
      : graph_(graph),
        scores_(scores),
        metric_(metric),
        options_(options),
        above_(std::move(above)),
        entries_(std::move(entries)) {}

  // How many of `left` nodes to insert at once into a graph of `inside` nodes. While it is small, batches
  // double it: what nodes of a batch do not find in the graph, they find in the batch.
  static size_t batch_size(size_t inside, size_t left);

  using Neighbours = std::vector<std::vector<uint32_t>>;  // of each node of a batch
  // Nodes that are not in the graph, ascending, and which have rows in it.
  Neighbours find(const uint32_t* nodes, size_t count) const;
  void link(const uint32_t* nodes, Neighbours neighbours);

  // Takes the nodes in `gone` out of the graph: who had one of them as a neighbour chooses from its
  // neighbours instead. Returns the nodes that cannot be reached any more, ascending; they are out of the
  // graph too, and have to be linked again.
  std::vector<uint32_t> take_out(const BitSet& gone);

 private:
  // Of one worker.
  struct Scratch {
    BeamScratch beam;
    std::vector<uint8_t> codes;  // of the nodes of a task
    std::vector<uint8_t> own;    // of one node
    std::vector<Candidate> candidates;
    std::vector<uint8_t> hidden;
    std::vector<uint32_t> ids, places, chosen;
    std::vector<float> found, distances;
  };

  // Gives each node of a batch a parent.
  void adopt(const uint32_t* nodes, Neighbours& neighbours);
  void rewire(const BitSet& gone);
  std::vector<uint32_t> replant();
  // Sets the row of a node to as many of `nodes` as it has room for, pruned if there are more.
  void set_row(uint32_t node, std::vector<uint32_t>& nodes, Scratch& scratch);
  void add_to_rows(const uint32_t* nodes, const Neighbours& neighbours);
  size_t most() const { return graph_.degree() * 3 / 4; }  // leaves room for those who come to a node
  // The neighbours of a node out of candidates, the best first: into scratch.chosen, at most `most`.
  void prune(uint32_t node, size_t most, Scratch& scratch) const;
  // A squared distance, or what takes its place, from the score of row x for node `query`.
  float distance(uint32_t query, float score) const;
  float query_factor() const { return metric_ == Metric::l2 ? 2.0f : 1.0f; }

  Graph& graph_;
  const NodeScores& scores_;
  Metric metric_;
  BuildOptions options_;
  std::vector<Layer> above_;
  std::vector<uint32_t> entries_;
};

}  // namespace tercet
