// An HNSWIndex as arrays of a file. Every node is that of a vector, removed, or free; what a number stands
// for is checked, since searches follow them without looking.
#include "index/saved.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>

#include "core/error.h"
#include "index/hnsw/hnsw.h"
#include "index/scan.h"

namespace tercet {
namespace {

constexpr const char* kOriginals = "originals";

}  // namespace

void HNSWIndex::save(const SaveTo& to) const {
  const std::lock_guard<std::mutex> one(change_);
  const std::shared_lock lock(mutex_);
  opened_.check();
  Sections out;
  save_ids(out, ids_);
  out.view("node_of", node_of_);
  out.view("removed", removed_);
  out.view("free", free_);
  layers_.save(out);
  if (has_bias()) out.view("bias", bias_);
  if (codes_) codes_->save(out, {{0, most_nodes()}});
  if (keeps_originals_) out.view(kOriginals, originals_.data(), originals_.size(), dim());
  to(out);
}

void HNSWIndex::restore(std::shared_ptr<const Container> file) {
  const std::lock_guard<std::mutex> one(change_);
  const std::unique_lock lock(mutex_);
  std::vector<std::string> payload;
  file->blame([&] {
    const SavedIds saved = restore_ids(*file);
    const size_t nodes = file->view<uint32_t>("base_parents").size();
    require(nodes <= size_t{1} << 31, "base_parents: expected at most 2^31 nodes, got ", nodes);
    // Settings may have been written down before an add that left the codes.
    if (keeps_originals_ && nodes && !CodeStore::is_in(*file)) codes_.reset();
    if (codes_) codes_->restore(*file, nodes);
    if (has_bias()) bias_ = restore_bias(*file, nodes);
    if (keeps_originals_) {
      const auto values = file->view<float>(kOriginals);
      Container::check_count(kOriginals, values.size(), nodes * dim());
      originals_.borrow(values, file->keeper());
    }
    layers_.restore(*file, nodes);
    node_of_ = file->copy<uint32_t>("node_of", count_of(saved.ids));
    restore_nodes(*file, nodes);
    restore_ids(ids_, saved);
  });
  if (codes_) payload = CodeStore::payload();
  if (keeps_originals_) payload.push_back(kOriginals);
  opened_.set(std::move(file), std::move(payload), [this] {
    if (codes_) codes_->check_codes();
    if (keeps_originals_) check_values(originals_.data(), dim(), most_nodes(), dim(), limit(), kOriginals, 0);
  });
}

// What each node is.
void HNSWIndex::restore_nodes(const Container& file, size_t nodes) {
  const auto copy = [&](const char* name) {
    const auto list = file.read<uint32_t>(name);
    return std::vector<uint32_t>(list.begin(), list.end());
  };
  removed_ = copy("removed");
  free_ = copy("free");
  slot_of_.assign(nodes, kNoNode);
  live_.resize(nodes);
  BitSet seen;
  seen.resize(nodes);
  // Whether each of them can be reached is not asked: a search of a graph in which one cannot finds less.
  const auto see = [&](const char* what, const std::vector<uint32_t>& list) {
    for (const uint32_t node : list) {
      require(node < nodes, what, ": expected nodes below ", nodes, ", got ", node);
      require(!seen.has(node), what, ": node ", node, " is in use already");
      seen.insert(node);
    }
  };
  see("node_of", node_of_);
  see("removed", removed_);
  see("free", free_);
  require(node_of_.size() + removed_.size() + free_.size() == nodes, "free: ", nodes, " nodes, but ",
          node_of_.size(), " have vectors, ", removed_.size(), " are removed and ", free_.size(), " free");
  for (size_t slot = 0; slot < node_of_.size(); ++slot) {
    slot_of_[node_of_[slot]] = static_cast<uint32_t>(slot);
    live_.insert(node_of_[slot]);
  }
  slots_are_nodes_ = node_of_.size() == nodes && std::is_sorted(node_of_.begin(), node_of_.end());
}

void HNSWIndex::verify() const {
  const std::shared_lock lock(mutex_);
  opened_.verify();
}

}  // namespace tercet
