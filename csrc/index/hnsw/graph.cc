#include "index/hnsw/graph.h"

#include "core/error.h"

namespace tercet {

void Graph::restore(size_t nodes, const std::vector<uint32_t>& rows, const std::vector<uint32_t>& parents,
                    uint32_t root) {
  const size_t count = count_of(nodes);
  require(rows.size() == count * degree_, "graph: expected ", count, " rows of ", degree_,
          " neighbours, got ", rows.size(), " numbers");
  require(parents.size() == count, "graph: expected ", count, " parents, got ", parents.size());
  const auto check = [&](uint32_t node) {
    require(node == kNoNode || (node < nodes && has(node)), "graph: ", node, " is no node of this layer");
  };
  for (const uint32_t node : rows) check(node);
  for (const uint32_t node : parents) check(node);
  check(root);
  nodes_ = nodes;
  rows_.assign(rows.begin(), rows.end());
  parents_ = parents;
  root_ = root;
}

}  // namespace tercet
