#include "index/hnsw/hnsw.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "codec/quantise.h"
#include "core/error.h"
#include "core/parallel.h"
#include "index/metric.h"
#include "index/scan.h"

namespace tercet {

HNSWIndex::HNSWIndex(uint32_t dim, Metric metric, const std::string& codec, const HNSWOptions& options,
                     bool rescore)
    : dim_(dim),
      metric_(metric),
      options_(options),
      codes_(codec == "float32"
                 ? nullptr
                 : std::make_unique<CodeStore>(make_int8_codec(), dim, RowLayout::cache_lines)),
      keeps_originals_(rescore || !codes_),
      layers_(2 * options.m, metric) {
  require(codec == "int8" || codec == "float32", "codec: expected 'int8' or 'float32', got '", codec, "'");
  require(options.m >= 2 && options.m <= NodeScores::kMost / 2, "m: expected 2 to ", NodeScores::kMost / 2,
          ", got ", options.m);
  require(options.ef_construction >= 1, "ef_construction: expected at least 1, got ",
          options.ef_construction);
}

float HNSWIndex::limit() const {
  constexpr float kMax = std::numeric_limits<float>::max();
  if (metric_ == Metric::cosine) return kMax;
  return metric_ == Metric::l2 ? std::sqrt(kMax / 8 / static_cast<float>(dim())) : kMaxScored;
}

RowsView HNSWIndex::rows() const {
  if (!codes_) return vectors();
  RowsView rows = codes_->view();
  if (has_bias()) rows.bias = bias_.data();
  return rows;
}

RowsView HNSWIndex::vectors() const {
  RowsView rows;
  rows.data = reinterpret_cast<const uint8_t*>(originals_.data());
  rows.rows = most_nodes();
  rows.stride = dim() * sizeof(float);
  rows.dim = dim();
  rows.format = metric_ == Metric::l2 ? Format::float32_l2 : Format::float32;
  return rows;
}

// Makes room, after which resize() cannot fail.
void HNSWIndex::reserve(size_t nodes) {
  if (codes_) codes_->reserve(nodes);
  if (keeps_originals_) originals_.reserve(nodes * dim());
  if (has_bias()) make_room(bias_, nodes);
  layers_.reserve(nodes);
  make_room(slot_of_, nodes);
  live_.reserve(nodes);
}

void HNSWIndex::resize(size_t nodes) {
  if (codes_) codes_->resize(nodes);
  if (keeps_originals_) originals_.resize(nodes * dim());
  if (has_bias()) bias_.resize(nodes);
  layers_.resize(nodes);
  slot_of_.resize(nodes, kNoNode);
  live_.resize(nodes);
}

void HNSWIndex::encode(uint32_t node, const float* vector, float* scratch) noexcept {
  if (metric_ == Metric::cosine) {
    normalise(vector, dim(), scratch);
    vector = scratch;
  }
  if (codes_) codes_->encode(node, vector);
  if (keeps_originals_) std::copy(vector, vector + dim(), originals_.mutable_data() + size_t{node} * dim());
  if (!has_bias()) return;
  codes_->decode(node, scratch);
  bias_[node] = static_cast<float>(-squared_norm(scratch, dim()));
}

std::vector<uint32_t> HNSWIndex::take_nodes(size_t count) {
  const size_t reused = std::min(count, free_.size());
  std::vector<uint32_t> nodes(free_.end() - static_cast<long>(reused), free_.end());
  std::sort(nodes.begin(), nodes.end());
  for (size_t i = reused; i < count; ++i) nodes.push_back(static_cast<uint32_t>(most_nodes() + i - reused));
  require(nodes.empty() || nodes.back() < (1u << 31), "more than 2^31 vectors");
  return nodes;
}

Ids HNSWIndex::add(const float* vectors, size_t stride, size_t count, std::optional<Ids> given,
                   size_t threads, const std::function<void()>& check) {
  check_values(vectors, stride, count, dim(), limit(), "vectors", threads);
  const std::lock_guard<std::mutex> one(change_);
  Ids ids = given ? std::move(*given) : ids_.next_ids(count);
  require(count_of(ids) == count, "ids: expected ", count, ", one per vector, got ", count_of(ids));
  const std::vector<uint32_t> slots = ids_.slots_for_add(ids);
  const std::vector<uint32_t> nodes = take_nodes(count);
  const size_t reused = std::min(count, free_.size());
  {
    // All that can fail comes before anything changes.
    const std::unique_lock lock(mutex_);
    opened_.check();
    const size_t after = std::max<size_t>(most_nodes(), nodes.empty() ? 0 : nodes.back() + size_t{1});
    reserve(after);
    make_room(node_of_, ids_.size() + count);
    make_room(removed_, removed_.size() + count);
    make_room(free_, after);
    opened_.release();
    resize(after);
  }
  try {
    // Nobody looks at nodes that are not linked.
    std::vector<std::vector<float>> scratch(worker_count(count, threads), std::vector<float>(dim()));
    parallel_for(count, threads, [&](size_t i, size_t worker) {
      encode(nodes[i], vectors + i * stride, scratch[worker].data());
    });
    insert(nodes, threads, check);
  } catch (...) {
    abandon(nodes, reused);
    throw;
  }

  const std::unique_lock lock(mutex_);
  free_.resize(free_.size() - reused);
  ids_.add(ids, slots);
  for (size_t i = 0; i < count; ++i) {
    if (slots[i] < node_of_.size()) {
      forget(node_of_[slots[i]]);
      node_of_[slots[i]] = nodes[i];
    } else {
      node_of_.push_back(nodes[i]);
    }
    slot_of_[nodes[i]] = slots[i];
    live_.insert(nodes[i]);
  }
  ++changes_;
  repair(threads);
  return ids;
}

// An add failed half-way, of whose nodes `reused` were free: those that are in the graph leave it with the
// next repair.
void HNSWIndex::abandon(const std::vector<uint32_t>& nodes, size_t reused) noexcept {
  const std::unique_lock lock(mutex_);
  free_.resize(free_.size() - reused);
  slots_are_nodes_ = false;  // they are used again in another order
  for (const uint32_t node : nodes) {
    (layers_.has(node) ? removed_ : free_).push_back(node);
    // It may never have been written, and is saved with the others: whoever opens the file looks for finite
    // values.
    if (keeps_originals_ && !layers_.has(node))
      std::fill_n(originals_.mutable_data() + size_t{node} * dim(), dim(), 0.0f);
  }
}

void HNSWIndex::insert(const std::vector<uint32_t>& nodes, size_t threads,
                       const std::function<void()>& check) {
  const BuildOptions options{.width = options_.ef_construction, .threads = threads};
  size_t inside = most_nodes() - free_.size() - nodes.size();
  for (size_t first = 0; first < nodes.size();) {
    if (check) check();
    const size_t size = GraphBuilder::batch_size(inside, nodes.size() - first);
    const uint32_t* const batch = nodes.data() + first;
    const NodeScores scores(rows());
    Layers::Found found;
    {
      const std::shared_lock lock(mutex_);
      found = layers_.find(batch, size, scores, options);
    }
    {
      const std::unique_lock lock(mutex_);
      layers_.link(batch, std::move(found), scores, options);
    }
    first += size;
    inside += size;
    unchecked_ += size;
    if (codes_ && keeps_originals_ && 2 * unchecked_ >= GraphBuilder::batch_size(inside, inside)) {
      unchecked_ = 0;
      if (codes_confuse(inside, threads)) leave_codes(threads, check);
    }
  }
}

void HNSWIndex::forget(uint32_t node) {
  slot_of_[node] = kNoNode;
  slots_are_nodes_ = false;
  live_.erase(node);
  removed_.push_back(node);
}

void HNSWIndex::remove(const Ids& ids) {
  const std::lock_guard<std::mutex> one(change_);
  const std::unique_lock lock(mutex_);
  std::vector<uint32_t> slots = ids_.slots_once(ids);
  opened_.check();
  make_room(removed_, removed_.size() + slots.size());
  // From the back, so that the last slot, which moves into the hole, is never one still to be removed.
  std::sort(slots.begin(), slots.end(), std::greater<>());
  for (const uint32_t slot : slots) {
    ids_.remove(slot);
    forget(node_of_[slot]);
    node_of_[slot] = node_of_.back();
    node_of_.pop_back();
    if (slot < node_of_.size()) slot_of_[node_of_[slot]] = slot;
  }
  ++changes_;
  repair(0);
}

void HNSWIndex::repair(size_t threads) {
  // A tenth of them: passing through them costs searches as much. Repairing passes over the whole graph.
  if (removed_.size() * 10 <= ids_.size() + 100) return;
  BitSet gone;
  gone.resize(most_nodes());
  for (const uint32_t node : removed_) gone.insert(node);
  layers_.take_out(gone, NodeScores(rows()), {.width = options_.ef_construction, .threads = threads});
  free_.insert(free_.end(), removed_.begin(), removed_.end());
  removed_.clear();
}

std::vector<float> HNSWIndex::get(const Ids& ids) const {
  const std::shared_lock lock(mutex_);
  const std::vector<uint32_t> slots = ids_.slots_of(ids);
  opened_.check();
  std::vector<float> out(slots.size() * dim());
  for (size_t i = 0; i < slots.size(); ++i) {
    const size_t node = node_of_[slots[i]];
    if (keeps_originals_) {
      std::copy_n(originals_.data() + node * dim(), dim(), out.data() + i * dim());
    } else {
      codes_->decode(node, out.data() + i * dim());
    }
  }
  return out;
}

bool HNSWIndex::contains(const Ids& one) const {
  const std::shared_lock lock(mutex_);
  return ids_.contains(one);
}

Ids HNSWIndex::ids() const {
  const std::shared_lock lock(mutex_);
  return ids_.ids();
}

size_t HNSWIndex::size() const {
  const std::shared_lock lock(mutex_);
  return ids_.size();
}

const char* HNSWIndex::codec() const {
  const std::shared_lock lock(mutex_);
  return codes_ ? codes_->codec().name() : "float32";
}

size_t HNSWIndex::removed() const {
  const std::shared_lock lock(mutex_);
  return removed_.size();
}

size_t HNSWIndex::bytes() const {
  const std::shared_lock lock(mutex_);
  return (codes_ ? codes_->bytes() : 0) + (originals_.size() + bias_.size()) * sizeof(float) +
         layers_.bytes() +
         (slot_of_.size() + node_of_.size() + removed_.size() + free_.size()) * sizeof(uint32_t);
}

double HNSWIndex::mean_degree() const {
  const std::shared_lock lock(mutex_);
  size_t edges = 0;
  for (const uint32_t node : node_of_) edges += layers_.neighbours(node);
  return node_of_.empty() ? 0 : static_cast<double>(edges) / static_cast<double>(node_of_.size());
}

}  // namespace tercet
