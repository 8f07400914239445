#include "index/hnsw/graph.h"

#include "core/error.h"

namespace tercet {

void Graph::save(Sections& out, const std::string& name) const {
  out.view(name + "_rows", rows_, degree_);
  out.view(name + "_parents", parents_);
  out.own(name + "_root", std::vector<uint32_t>{root_});
}

void Graph::restore(const Container& file, const std::string& name, size_t nodes) {
  const auto rows = file.read<uint32_t>(name + "_rows");
  Container::check_count(name + "_rows", rows.size(), count_of(nodes) * degree_);
  nodes_ = nodes;
  parents_ = file.copy<uint32_t>(name + "_parents", count_of(nodes));
  root_ = file.copy<uint32_t>(name + "_root", 1)[0];
  // Searches follow these numbers without looking, so each of them must be a node of this layer.
  const auto check = [&](const char* what, uint32_t node) {
    require(node == kNoNode || is_member(node), name, what, node, " is no node of the layer, of ", nodes);
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    check("_rows: neighbour ", rows[i]);
    require(i % degree_ == 0 || rows[i - 1] != kNoNode || rows[i] == kNoNode, name, "_rows: neighbour ",
            rows[i], " lies behind the end of its row");
  }
  for (const uint32_t node : parents_) check("_parents: ", node);
  check("_root: ", root_);
  rows_.assign(rows.begin(), rows.end());
}

}  // namespace tercet
