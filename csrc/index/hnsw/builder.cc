#include "index/hnsw/builder.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "codec/packed_queries.h"
#include "core/parallel.h"
#include "index/scan.h"

namespace tercet {
namespace {

constexpr size_t kFirstBatch = 256, kLargestBatch = 4096;
constexpr size_t kBatchNeighbours = 48;  // of a node, out of its own batch

// The rows of some nodes, side by side.
class Batch {
 public:
  Batch(const NodeScores& scores, const uint32_t* nodes, size_t count)
      : values_(count * scores.bytes_of_row()) {
    const RowsView& rows = scores.rows();
    const size_t bytes = scores.bytes_of_row();
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(rows.row(nodes[i]), bytes, values_.data() + i * bytes);
      if (rows.scales) scales_.push_back(rows.scales[nodes[i]]);
      if (rows.bias) bias_.push_back(rows.bias[nodes[i]]);
    }
    view_.rows = rows;
    view_.rows.data = values_.data();
    view_.rows.rows = count;
    view_.rows.stride = bytes;
    if (rows.scales) view_.rows.scales = scales_.data();
    if (rows.bias) view_.rows.bias = bias_.data();
  }
  const ScanRows& rows() const { return view_; }

 private:
  AlignedVector<uint8_t> values_;
  std::vector<uint16_t> scales_;
  std::vector<float> bias_;
  ScanRows view_;
};

}  // namespace

size_t GraphBuilder::batch_size(size_t inside, size_t left) {
  return std::min(std::clamp(inside, kFirstBatch, kLargestBatch), left);
}

float GraphBuilder::distance(uint32_t query, float score) const {
  switch (metric_) {
    case Metric::cosine:
      return 2 - 2 * score;
    case Metric::l2:  // by codes, scores lack -|query|^2
      return (scores_.rows().bias ? -scores_.rows().bias[query] : 0) - score;
    case Metric::dot:
      break;
  }
  return -score;  // no distance, but ordered as one
}

void GraphBuilder::prune(uint32_t node, size_t most, Scratch& s) const {
  const float alpha = metric_ == Metric::dot ? 1.0f : options_.alpha;
  const size_t count = s.candidates.size();
  s.hidden.assign(count, 0);
  s.distances.resize(count);
  for (size_t i = 0; i < count; ++i) s.distances[i] = distance(node, s.candidates[i].score);
  s.chosen.clear();
  s.own.resize(scores_.bytes_of_row());
  s.found.resize(NodeScores::kMost);
  for (size_t i = 0; i < count; ++i) {
    const bool child = graph_.parent(s.candidates[i].row) == node;
    if (s.hidden[i] && !child) continue;
    const uint32_t chosen = s.candidates[i].row;
    s.chosen.push_back(chosen);
    if (s.chosen.size() == most) return;
    // It hides those that are nearer to it than to the node.
    s.ids.clear();
    s.places.clear();
    for (size_t j = i + 1; j < count; ++j) {
      if (s.hidden[j]) continue;
      s.ids.push_back(s.candidates[j].row);
      s.places.push_back(static_cast<uint32_t>(j));
    }
    const NodeQuery query = scores_.query_of(chosen, query_factor(), s.own.data());
    for (size_t begin = 0; begin < s.ids.size(); begin += NodeScores::kMost) {
      const size_t n = std::min(NodeScores::kMost, s.ids.size() - begin);
      scores_(query, s.ids.data() + begin, n, s.found.data());
      for (size_t j = 0; j < n; ++j) {
        const uint32_t place = s.places[begin + j];
        s.hidden[place] = alpha * distance(chosen, s.found[j]) <= s.distances[place];
      }
    }
  }
}

// Gives each new node a parent: the nearest neighbour that is in the tree already and has room for a child.
void GraphBuilder::adopt(const uint32_t* nodes, Neighbours& neighbours) {
  std::unordered_map<uint32_t, uint32_t> children;
  for (size_t i = 0; i < neighbours.size(); ++i) {
    if (nodes[i] == graph_.root()) continue;
    const auto take = [&](uint32_t parent) {
      if (!graph_.in_tree(parent)) return false;
      uint32_t& have = children.try_emplace(parent, graph_.children(parent)).first->second;
      if (have >= graph_.degree() / 2) return false;
      ++have;
      graph_.set_parent(nodes[i], parent);
      return true;
    };
    if (std::any_of(neighbours[i].begin(), neighbours[i].end(), take)) continue;
    // As good as never: all of them have many children. There are more nodes than could have as many each.
    for (uint32_t parent = 0; parent < graph_.nodes(); ++parent) {
      if (parent == nodes[i] || !graph_.has(parent) || !take(parent)) continue;
      neighbours[i].resize(std::min<size_t>(neighbours[i].size(), graph_.degree() - 1));
      neighbours[i].push_back(parent);
      break;
    }
  }
}

GraphBuilder::Neighbours GraphBuilder::find(const uint32_t* nodes, size_t count) const {
  const RowsView& rows = scores_.rows();
  const size_t bytes = scores_.bytes_of_row();
  const bool empty = graph_.root() == kNoNode;
  constexpr size_t kNodes = 32;  // of a task
  const size_t tasks = (count + kNodes - 1) / kNodes;
  std::vector<std::unique_ptr<Scratch>> scratch(worker_count(tasks, options_.threads));
  const auto scratch_of = [&](size_t worker) -> Scratch& {
    if (!scratch[worker]) scratch[worker] = std::make_unique<Scratch>();
    return *scratch[worker];
  };

  const Batch batch(scores_, nodes, count);
  Neighbours neighbours(count);
  parallel_for(tasks, options_.threads, [&](size_t task, size_t worker) {
    Scratch& s = scratch_of(worker);
    const size_t begin = task * kNodes, n = std::min(kNodes, count - begin);
    s.codes.resize(kNodes * bytes);
    std::vector<NodeQuery> queries;
    std::vector<float> scales;
    for (size_t i = 0; i < n; ++i) {
      queries.push_back(scores_.query_of(nodes[begin + i], query_factor(), s.codes.data() + i * bytes));
      scales.push_back(queries.back().scale);
    }
    const bool coded = rows.format == Format::int8;
    const uint8_t* const own = coded ? s.codes.data() : batch.rows().rows.row(begin);
    const PackedQueries packed({own, n, bytes, rows.dim, rows.format}, coded ? scales.data() : nullptr);
    const auto in_batch = scan_topk(packed, batch.rows(), kBatchNeighbours + 1, TieBreak(), 1);

    const auto choose = [&](size_t i, const Pool* pool) {
      s.candidates.clear();
      for (const Candidate& c : in_batch[i]) {
        if (c.row != begin + i) s.candidates.push_back({c.score, nodes[c.row]});
      }
      if (pool) {
        for (const PoolEntry& entry : *pool) s.candidates.push_back({entry.score(), entry.node()});
      }
      const TieBreak ties;
      std::sort(s.candidates.begin(), s.candidates.end(), BetterThan{&ties});
      prune(nodes[begin + i], most(), s);
      neighbours[begin + i] = s.chosen;
    };
    if (empty) {
      for (size_t i = 0; i < n; ++i) choose(i, nullptr);
      return;
    }
    Beam beam{scores_, above_, entries_};
    if (above_.empty()) beam.entries = {graph_.root()};
    beam.layers.push_back({&graph_, options_.width});
    beam.run(
        0, n, s.beam, [&](BeamSearch& search) { search.query = queries[search.task]; },
        [&](BeamSearch& search) { choose(search.task, &search.pool); });
  });
  return neighbours;
}

void GraphBuilder::link(const uint32_t* nodes, Neighbours neighbours) {
  if (graph_.root() == kNoNode) graph_.set_root(nodes[0]);
  adopt(nodes, neighbours);
  for (size_t i = 0; i < neighbours.size(); ++i) {
    graph_.set(nodes[i], neighbours[i].data(), neighbours[i].size());
  }
  add_to_rows(nodes, neighbours);
}

void GraphBuilder::set_row(uint32_t node, std::vector<uint32_t>& nodes, Scratch& s) {
  if (nodes.size() <= graph_.degree()) {
    graph_.set(node, nodes.data(), nodes.size());
    return;
  }
  s.own.resize(scores_.bytes_of_row());
  const NodeQuery query = scores_.query_of(node, query_factor(), s.own.data());
  s.candidates.clear();
  s.found.resize(NodeScores::kMost);
  for (size_t begin = 0; begin < nodes.size(); begin += NodeScores::kMost) {
    const size_t n = std::min(NodeScores::kMost, nodes.size() - begin);
    scores_(query, nodes.data() + begin, n, s.found.data());
    for (size_t i = 0; i < n; ++i) s.candidates.push_back({s.found[i], nodes[begin + i]});
  }
  const TieBreak ties;
  const BetterThan better{&ties};
  // Children first: it must keep them.
  std::sort(s.candidates.begin(), s.candidates.end(), [&](const Candidate& a, const Candidate& b) {
    const bool child_a = graph_.parent(a.row) == node, child_b = graph_.parent(b.row) == node;
    return child_a != child_b ? child_a : better(a, b);
  });
  prune(node, std::max<size_t>(most(), graph_.children(node)), s);
  graph_.set(node, s.chosen.data(), s.chosen.size());
}

// Makes the nodes neighbours of their neighbours.
void GraphBuilder::add_to_rows(const uint32_t* nodes, const Neighbours& neighbours) {
  // Grouped by who gets a neighbour.
  std::vector<std::pair<uint32_t, uint32_t>> edges;
  for (size_t i = 0; i < neighbours.size(); ++i) {
    for (const uint32_t n : neighbours[i]) edges.emplace_back(n, nodes[i]);
  }
  std::sort(edges.begin(), edges.end());
  std::vector<size_t> starts;
  for (size_t i = 0; i < edges.size(); ++i) {
    if (i == 0 || edges[i].first != edges[i - 1].first) starts.push_back(i);
  }
  starts.push_back(edges.size());
  constexpr size_t kTargets = 64;
  const size_t targets = starts.size() - 1;
  const size_t tasks = (targets + kTargets - 1) / kTargets;
  std::vector<Scratch> scratch(worker_count(tasks, options_.threads));
  parallel_for(tasks, options_.threads, [&](size_t task, size_t worker) {
    Scratch& s = scratch[worker];
    std::vector<uint32_t> all;
    for (size_t t = task * kTargets; t < std::min((task + 1) * kTargets, targets); ++t) {
      const uint32_t node = edges[starts[t]].first;
      uint32_t* const row = graph_.row(node);
      all.assign(row, row + graph_.count(node));
      for (size_t i = starts[t]; i < starts[t + 1]; ++i) {
        if (std::find(all.begin(), all.end(), edges[i].second) == all.end()) all.push_back(edges[i].second);
      }
      set_row(node, all, s);
    }
  });
}

std::vector<uint32_t> GraphBuilder::take_out(const BitSet& gone) {
  rewire(gone);
  for (uint32_t node = 0; node < graph_.nodes(); ++node) {
    if (!graph_.has(node) || !gone.has(node)) continue;
    graph_.set(node, nullptr, 0);
    graph_.set_parent(node, kNoNode);
    if (node == graph_.root()) graph_.set_root(kNoNode);
  }
  return replant();
}

// Neighbours that are gone are replaced by theirs (Singh et al., "FreshDiskANN", 2021).
void GraphBuilder::rewire(const BitSet& gone) {
  constexpr size_t kNodes = 1024;
  const size_t tasks = (graph_.nodes() + kNodes - 1) / kNodes;
  std::vector<Scratch> scratch(worker_count(tasks, options_.threads));
  parallel_for(tasks, options_.threads, [&](size_t task, size_t worker) {
    std::vector<uint32_t> all;
    const size_t end = std::min((task + 1) * kNodes, graph_.nodes());
    for (auto node = static_cast<uint32_t>(task * kNodes); node < end; ++node) {
      if (!graph_.has(node) || gone.has(node)) continue;
      const uint32_t* const row = graph_.row(node);
      const uint32_t* const row_end = row + graph_.count(node);
      if (std::none_of(row, row_end, [&](uint32_t n) { return gone.has(n); })) continue;
      all.clear();
      const auto take = [&](uint32_t n) {
        if (n != node && !gone.has(n)) all.push_back(n);
      };
      for (const uint32_t* n = row; n != row_end; ++n) {
        take(*n);
        if (!gone.has(*n)) continue;
        const uint32_t* const behind = graph_.row(*n);  // rows of those who are gone do not change here
        std::for_each(behind, behind + graph_.count(*n), take);
      }
      std::sort(all.begin(), all.end());
      all.erase(std::unique(all.begin(), all.end()), all.end());
      set_row(node, all, scratch[worker]);
    }
  });
}

// Makes a new tree of the edges there are. What it does not reach is cut off from the graph.
std::vector<uint32_t> GraphBuilder::replant() {
  std::vector<uint32_t> lost, queue;
  BitSet reached;
  reached.resize(graph_.nodes());
  std::vector<uint32_t> members;
  for (uint32_t node = 0; node < graph_.nodes(); ++node) {
    if (graph_.has(node) && graph_.in_tree(node)) members.push_back(node);
  }
  if (graph_.root() == kNoNode && !members.empty()) graph_.set_root(members[0]);
  for (const uint32_t node : members) graph_.set_parent(node, kNoNode);
  if (graph_.root() != kNoNode) {
    queue.push_back(graph_.root());
    reached.insert(graph_.root());
  }
  for (size_t i = 0; i < queue.size(); ++i) {
    const uint32_t node = queue[i];
    const uint32_t* const row = graph_.row(node);
    for (uint32_t n = 0; n < graph_.degree() && row[n] != kNoNode; ++n) {
      if (reached.has(row[n])) continue;
      reached.insert(row[n]);
      graph_.set_parent(row[n], node);
      queue.push_back(row[n]);
    }
  }
  for (const uint32_t node : members) {
    if (!reached.has(node)) lost.push_back(node);
  }
  for (const uint32_t node : lost) graph_.set(node, nullptr, 0);
  return lost;
}

}  // namespace tercet
