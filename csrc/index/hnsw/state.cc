// What an HNSWIndex saves, and how it becomes one again.
#include <algorithm>
#include <mutex>
#include <shared_mutex>

#include "core/error.h"
#include "index/hnsw/hnsw.h"
#include "index/metric.h"
#include "index/scan.h"

namespace tercet {
namespace {

template <class Values>
auto copy_of(const Values& values) {
  return std::vector<typename Values::value_type>(values.begin(), values.end());
}

}  // namespace

HNSWIndex::State HNSWIndex::state() const {
  const std::shared_lock lock(mutex_);
  return {ids_.ids(),
          ids_.next(),
          copy_of(store_.codes()),
          store_.scales(),
          copy_of(originals_),
          node_of_,
          removed_,
          copy_of(base_.rows()),
          base_.parents(),
          copy_of(upper_.rows()),
          upper_.parents(),
          base_.root(),
          upper_.root()};
}

void HNSWIndex::restore(const State& state) {
  const std::lock_guard<std::mutex> one(change_);
  const std::unique_lock lock(mutex_);
  const size_t nodes = state.scales.size(), count = count_of(state.ids);
  const std::vector<uint32_t> slots = ids_.slots_for_add(state.ids);
  const size_t expected = keeps_originals_ ? nodes * dim() : 0;
  require(nodes < (size_t{1} << 31), "nodes: expected fewer than 2^31, got ", nodes);
  require(state.originals.size() == expected, "originals: expected ", expected, " values, got ",
          state.originals.size());
  check_values(state.originals.data(), dim(), keeps_originals_ ? nodes : 0, dim(), limit(), "originals", 1);
  require(state.node_of.size() == count, "nodes of ids: expected ", count, ", got ", state.node_of.size());
  store_.restore(state.codes.data(), state.codes.size(), state.scales, {}, nodes);
  base_.restore(nodes, state.base_rows, state.base_parents, state.base_root);
  upper_.restore(nodes, state.upper_rows, state.upper_parents, state.upper_root);
  resize(nodes);
  std::copy(state.originals.begin(), state.originals.end(), originals_.begin());

  NodeBits used;
  used.resize(nodes);
  const auto use = [&](uint32_t node, const char* what) {
    require(node < nodes && !used.has(node) && base_.in_tree(node), what, ": ", node,
            " is no node of the graph, or given twice");
    used.insert(node);
  };
  for (size_t slot = 0; slot < count; ++slot) {
    use(state.node_of[slot], "nodes of ids");
    slot_of_[state.node_of[slot]] = static_cast<uint32_t>(slot);
    live_.insert(state.node_of[slot]);
  }
  for (const uint32_t node : state.removed) use(node, "removed nodes");
  node_of_ = state.node_of;
  removed_ = state.removed;
  slots_are_nodes_ = count == nodes && std::is_sorted(node_of_.begin(), node_of_.end());
  for (uint32_t node = 0; node < nodes; ++node) {
    if (used.has(node)) continue;
    require(!base_.in_tree(node) && !(upper_.has(node) && upper_.in_tree(node)), "removed nodes: ", node,
            " is missing");
    free_.push_back(node);
  }
  std::vector<float> decoded(dim());
  for (uint32_t node = 0; node < nodes && has_bias(); ++node) {
    store_.decode(node, decoded.data());
    bias_[node] = static_cast<float>(-squared_norm(decoded.data(), dim()));
  }
  choose_entries();
  ids_.add(state.ids, slots);
  ids_.set_next(state.next_id);
}

}  // namespace tercet
