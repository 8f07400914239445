#include "index/hnsw/layers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tercet {
namespace {

constexpr size_t kUpperWidth = 16, kEntries = 64;

}  // namespace

void Layers::reserve(size_t nodes) {
  base_.reserve(nodes);
  upper_.reserve(nodes);
}

void Layers::resize(size_t nodes) {
  base_.resize(nodes);
  upper_.resize(nodes);
}

std::vector<Layer> Layers::above() const {
  return upper_.root() == kNoNode ? std::vector<Layer>() : std::vector<Layer>{{&upper_, kUpperWidth}};
}

Beam Layers::beam(const NodeScores& scores, size_t width) const {
  Beam beam{scores, above(), entries_};
  beam.layers.push_back({&base_, width});
  return beam;
}

GraphBuilder Layers::base_builder(const NodeScores& scores, const BuildOptions& options) {
  return GraphBuilder(base_, scores, metric_, options, above(), entries_);
}

GraphBuilder Layers::upper_builder(const NodeScores& scores, const BuildOptions& options) {
  return GraphBuilder(upper_, scores, metric_, options, {}, {});
}

Layers::Found Layers::find(const uint32_t* nodes, size_t count, const NodeScores& scores,
                           const BuildOptions& options) {
  Found found;
  std::copy_if(nodes, nodes + count, std::back_inserter(found.in_upper),
               [&](uint32_t n) { return upper_.has(n); });
  found.base = base_builder(scores, options).find(nodes, count);
  const std::vector<uint32_t>& upper = found.in_upper;
  if (!upper.empty()) found.upper = upper_builder(scores, options).find(upper.data(), upper.size());
  return found;
}

void Layers::link(const uint32_t* nodes, Found found, const NodeScores& scores, const BuildOptions& options) {
  base_builder(scores, options).link(nodes, std::move(found.base));
  const std::vector<uint32_t>& upper = found.in_upper;
  if (!upper.empty()) upper_builder(scores, options).link(upper.data(), std::move(found.upper));
  choose_entries();
}

void Layers::take_out(const BitSet& gone, const NodeScores& scores, const BuildOptions& options) {
  const std::vector<uint32_t> lost_upper = upper_builder(scores, options).take_out(gone);
  const std::vector<uint32_t> lost = base_builder(scores, options).take_out(gone);
  choose_entries();
  if (!lost_upper.empty()) {
    GraphBuilder upper = upper_builder(scores, options);
    upper.link(lost_upper.data(), upper.find(lost_upper.data(), lost_upper.size()));
  }
  if (!lost.empty()) {
    GraphBuilder base = base_builder(scores, options);
    base.link(lost.data(), base.find(lost.data(), lost.size()));
  }
  choose_entries();
}

void Layers::choose_entries() {
  entries_.clear();
  if (upper_.root() == kNoNode) {
    if (base_.root() != kNoNode) entries_.push_back(base_.root());
    return;
  }
  entries_.push_back(upper_.root());
  const size_t count = ((base_.nodes() - 1) >> kUpperShift) + 1;
  for (size_t i = 0; i < kEntries; ++i) {
    const auto node = static_cast<uint32_t>(i * count / kEntries << kUpperShift);
    if (node != entries_.back() && node != upper_.root() && upper_.in_tree(node)) entries_.push_back(node);
  }
}

void Layers::save(Sections& out) const {
  base_.save(out, "base");
  upper_.save(out, "upper");
}

void Layers::restore(const Container& file, size_t nodes) {
  base_.restore(file, "base", nodes);
  upper_.restore(file, "upper", nodes);
  choose_entries();
}

}  // namespace tercet
