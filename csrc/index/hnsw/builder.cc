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
  Batch(const RowsView& rows, const uint32_t* nodes, size_t count) : codes_(count * rows.dim) {
    for (size_t i = 0; i < count; ++i) {
      std::copy(rows.row(nodes[i]), rows.row(nodes[i]) + rows.dim, codes_.data() + i * rows.dim);
      scales_.push_back(rows.scales[nodes[i]]);
      if (rows.bias) bias_.push_back(rows.bias[nodes[i]]);
    }
    view_.rows = rows;
    view_.rows.data = codes_.data();
    view_.rows.rows = count;
    view_.rows.stride = rows.dim;
    view_.rows.scales = scales_.data();
    if (rows.bias) view_.rows.bias = bias_.data();
  }
  const ScanRows& rows() const { return view_; }

 private:
  AlignedVector<uint8_t> codes_;
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
    case Metric::l2:
      return -scores_.rows().bias[query] - score;
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
  s.own.resize(scores_.rows().dim);
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
    const Int8Query query = scores_.query_of(chosen, query_factor(), s.own.data());
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
  const uint32_t dim = scores_.rows().dim;
  const bool empty = graph_.root() == kNoNode;
  constexpr size_t kNodes = 32;                  // of a task
  const size_t tasks = (count + kNodes - 1) / kNodes;
  std::vector<std::unique_ptr<Scratch>> scratch(worker_count(tasks, options_.threads));
  const auto scratch_of = [&](size_t worker) -> Scratch& {
    if (!scratch[worker]) scratch[worker] = std::make_unique<Scratch>();
    return *scratch[worker];
  };

  const Batch batch(scores_.rows(), nodes, count);
  Neighbours neighbours(count);
  parallel_for(tasks, options_.threads, [&](size_t task, size_t worker) {
    Scratch& s = scratch_of(worker);
    const size_t begin = task * kNodes, n = std::min(kNodes, count - begin);
    s.codes.resize(kNodes * dim);
    std::vector<Int8Query> queries;
    std::vector<float> scales;
    for (size_t i = 0; i < n; ++i) {
      queries.push_back(scores_.query_of(nodes[begin + i], query_factor(), s.codes.data() + i * dim));
      scales.push_back(queries.back().scale);
    }
    const PackedQueries packed({reinterpret_cast<const uint8_t*>(s.codes.data()), n, dim, dim, Format::int8},
                               scales.data());
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
      if (all.size() <= graph_.degree()) {
        graph_.set(node, all.data(), all.size());
        continue;
      }
      s.own.resize(scores_.rows().dim);
      const Int8Query query = scores_.query_of(node, query_factor(), s.own.data());
      s.candidates.clear();
      s.found.resize(NodeScores::kMost);
      for (size_t begin = 0; begin < all.size(); begin += NodeScores::kMost) {
        const size_t n = std::min(NodeScores::kMost, all.size() - begin);
        scores_(query, all.data() + begin, n, s.found.data());
        for (size_t i = 0; i < n; ++i) s.candidates.push_back({s.found[i], all[begin + i]});
      }
      const TieBreak ties;
      const BetterThan better{&ties};
      std::sort(s.candidates.begin(), s.candidates.end(), [&](const Candidate& a, const Candidate& b) {
        const bool child_a = graph_.parent(a.row) == node, child_b = graph_.parent(b.row) == node;
        return child_a != child_b ? child_a : better(a, b);
      });
      prune(node, most(), s);
      graph_.set(node, s.chosen.data(), s.chosen.size());
    }
  });
}

}  // namespace tercet
