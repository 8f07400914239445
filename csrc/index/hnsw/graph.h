// Who is next to whom: a row of neighbours for every node of a layer, at most `degree` of them.
//
// Every node but the root has a parent, which has it as a neighbour and does not give it up: the edges from
// parents are a tree, so that every node can be reached.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/aligned.h"
#include "storage/container.h"

namespace tercet {

constexpr uint32_t kNoNode = 0xffffffff;

class Graph {
 public:
  // A layer of the nodes that are multiples of 2^shift.
  Graph(uint32_t degree, uint32_t shift) : degree_(degree), shift_(shift) {}

  uint32_t degree() const { return degree_; }
  bool has(uint32_t node) const { return (node & ((1u << shift_) - 1)) == 0; }
  // Numbers of nodes are below.
  size_t nodes() const { return nodes_; }
  size_t bytes() const { return (rows_.size() + parents_.size()) * sizeof(uint32_t); }

  // Makes room, after which resize() cannot fail.
  void reserve(size_t nodes) {
    make_room(rows_, count_of(nodes) * degree_);
    make_room(parents_, count_of(nodes));
  }
  // New nodes have no neighbours.
  void resize(size_t nodes) {
    const size_t before = rows_.size();
    nodes_ = nodes;
    rows_.resize(count_of(nodes) * degree_);
    parents_.resize(count_of(nodes), kNoNode);
    if (rows_.size() > before) std::fill(rows_.begin() + static_cast<long>(before), rows_.end(), kNoNode);
  }

  // The neighbours of a node, up to the first kNoNode or `degree` of them.
  const uint32_t* row(uint32_t node) const { return rows_.data() + size_t{node >> shift_} * degree_; }
  uint32_t* row(uint32_t node) { return rows_.data() + size_t{node >> shift_} * degree_; }
  uint32_t count(uint32_t node) const {
    const uint32_t* const own = row(node);
    uint32_t count = 0;  // of 32 bits, like what is compared: compilers make short vectors of that
    for (uint32_t i = 0; i < degree_; ++i) count += own[i] != kNoNode;
    return count;
  }
  void set(uint32_t node, const uint32_t* neighbours, size_t count) {
    std::fill(std::copy(neighbours, neighbours + count, row(node)), row(node) + degree_, kNoNode);
  }

  // kNoNode for a graph without nodes.
  uint32_t root() const { return root_; }
  void set_root(uint32_t node) { root_ = node; }
  uint32_t parent(uint32_t node) const { return parents_[node >> shift_]; }
  void set_parent(uint32_t node, uint32_t parent) { parents_[node >> shift_] = parent; }
  bool in_tree(uint32_t node) const { return node == root_ || parent(node) != kNoNode; }
  // How many of its neighbours a node must keep.
  uint32_t children(uint32_t node) const {
    const uint32_t* const own = row(node);
    return static_cast<uint32_t>(
        std::count_if(own, own + count(node), [&](uint32_t n) { return parent(n) == node; }));
  }

  // As the arrays <name>_rows, <name>_parents and <name>_root.
  void save(Sections& out, const std::string& name) const;
  // A graph of `nodes` nodes. Throws Error if a number in it is no node of the layer.
  void restore(const Container& file, const std::string& name, size_t nodes);

 private:
  bool is_member(uint32_t node) const { return node < nodes_ && has(node); }
  size_t count_of(size_t nodes) const { return (nodes + (size_t{1} << shift_) - 1) >> shift_; }

  uint32_t degree_, shift_;
  size_t nodes_ = 0;
  uint32_t root_ = kNoNode;
  AlignedVector<uint32_t> rows_;  // [node][degree]
  std::vector<uint32_t> parents_;
};

}  // namespace tercet
