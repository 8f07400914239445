#include "index/flat.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/error.h"
#include "core/parallel.h"
#include "index/scan.h"

namespace tercet {
namespace {

double squared_norm(const float* v, uint32_t dim) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) sum += static_cast<double>(v[k]) * v[k];
  return sum;
}

// Unit length; the zero vector has no direction and stays zero, so it scores 0 with everything.
void normalise(const float* v, uint32_t dim, float* out) {
  const double norm = std::sqrt(squared_norm(v, dim));
  for (uint32_t k = 0; k < dim; ++k) out[k] = norm > 0 ? static_cast<float>(v[k] / norm) : 0.0f;
}

}  // namespace

FlatIndex::FlatIndex(uint32_t dim, Metric metric, const std::string& codec, uint64_t seed)
    : metric_(metric), store_(make_codec(codec, dim, seed), dim) {}

float FlatIndex::limit() const {
  constexpr float kMax = std::numeric_limits<float>::max();
  // A cosine index stores unit vectors; squared distances must not overflow: |q|^2 + 2 <q, x> + |x|^2.
  if (metric_ == Metric::cosine) return kMax;
  const float codec = store_.codec().max_magnitude();
  return metric_ == Metric::l2 ? std::min(codec, std::sqrt(kMax / 8 / static_cast<float>(dim()))) : codec;
}

void FlatIndex::encode(size_t slot, const float* vector, float* scratch) noexcept {
  if (metric_ == Metric::cosine) {
    normalise(vector, dim(), scratch);
    vector = scratch;
  }
  store_.encode(slot, vector);
  if (metric_ == Metric::l2) bias_[slot] = bias_of(slot, scratch);
}

float FlatIndex::bias_of(size_t slot, float* scratch) const {
  store_.decode(slot, scratch);
  return static_cast<float>(-squared_norm(scratch, dim()));
}

Ids FlatIndex::add(const float* vectors, size_t stride, size_t count, const Ids* given, size_t threads) {
  check_values(vectors, stride, count, dim(), limit(), "vectors", threads);
  std::unique_lock lock(mutex_);
  const Ids ids = given ? *given : ids_.next_ids(count);
  require(count_of(ids) == count, "ids: expected ", count, ", one per vector, got ", count_of(ids));
  const std::vector<uint32_t> slots = ids_.slots_for_add(ids);
  const size_t before = ids_.size();
  const size_t after = std::max<size_t>(before, *std::max_element(slots.begin(), slots.end()) + size_t{1});
  store_.resize(after);
  if (metric_ == Metric::l2) grow(bias_, after);
  std::vector<std::vector<float>> scratch(worker_count(count, threads), std::vector<float>(dim()));
  try {
    ids_.add(ids, slots);
  } catch (...) {
    store_.resize(before);
    throw;
  }
  // Nothing below can fail.
  parallel_for(count, threads, [&](size_t i, size_t worker) {
    encode(slots[i], vectors + i * stride, scratch[worker].data());
  });
  return ids;
}

void FlatIndex::remove(const Ids& ids) {
  std::unique_lock lock(mutex_);
  std::vector<uint32_t> slots = ids_.slots_of(ids);
  // From the back, so that the last row, which moves into the hole, is never one still to be removed.
  std::sort(slots.begin(), slots.end(), std::greater<>());
  for (const uint32_t slot : slots) {
    const size_t last = ids_.size() - 1;
    ids_.remove(slot);
    if (slot != last) {
      store_.move(last, slot, 1);
      if (metric_ == Metric::l2) bias_[slot] = bias_[last];
    }
    store_.resize(last);
    if (metric_ == Metric::l2) bias_.resize(last);
  }
}

Results FlatIndex::search(const float* queries, size_t count, size_t k, const Filters& filters,
                          size_t threads) const {
  const uint32_t d = dim();
  check_values(queries, d, count, d, limit(), "queries", threads);
  check_filters(filters, count);
  // l2 is a dot product: -|q - x|^2 = <2q, x> - |x|^2 - |q|^2, doubling is exact, -|x|^2 is the row's bias
  std::vector<float> prepared(queries, queries + count * d);
  std::vector<float> offsets(count, 0.0f);
  for (size_t q = 0; q < count; ++q) {
    float* const row = prepared.data() + q * d;
    if (metric_ == Metric::cosine) normalise(row, d, row);
    if (metric_ == Metric::l2) {
      offsets[q] = static_cast<float>(squared_norm(row, d));
      for (uint32_t j = 0; j < d; ++j) row[j] *= 2;
    }
  }

  std::shared_lock lock(mutex_);
  ScanRows rows;
  rows.rows = store_.view();
  if (metric_ == Metric::l2) rows.rows.bias = bias_.data();
  std::vector<std::vector<Candidate>> hits;
  const auto scan = [&](size_t first, size_t n) {
    for (auto& list :
         scan_topk(store_.codec().bind(prepared.data() + first * d, n, d), rows, k, ids_, threads)) {
      hits.push_back(std::move(list));
    }
  };
  if (filters.empty()) {
    scan(0, count);
  } else {
    const bool shared = filters.size() == 1;
    std::vector<uint32_t> allowed;
    for (size_t q = 0; q < filters.size(); ++q) {
      const bool all = std::holds_alternative<std::monostate>(filters[q]);
      allowed = all ? std::vector<uint32_t>() : allowed_slots(filters[q], ids_);
      rows.list = all ? nullptr : allowed.data();
      rows.list_size = allowed.size();
      if (!all && allowed.empty()) {
        hits.resize(hits.size() + (shared ? count : 1));
      } else {
        scan(shared ? 0 : q, shared ? count : 1);
      }
    }
  }
  if (metric_ == Metric::l2) {
    // Rounding may lift a distance of zero a little above it.
    for (size_t q = 0; q < count; ++q) {
      for (Candidate& c : hits[q]) c.score = std::min(c.score - offsets[q], 0.0f);
    }
  }
  return make_results(hits, k, ids_);
}

std::vector<float> FlatIndex::get(const Ids& ids) const {
  std::shared_lock lock(mutex_);
  const std::vector<uint32_t> slots = ids_.slots_of(ids);
  std::vector<float> rows(slots.size() * dim());
  for (size_t i = 0; i < slots.size(); ++i) store_.decode(slots[i], rows.data() + i * dim());
  return rows;
}

bool FlatIndex::contains(const Ids& one) const {
  std::shared_lock lock(mutex_);
  return ids_.contains(one);
}

Ids FlatIndex::ids() const {
  std::shared_lock lock(mutex_);
  return ids_.ids();
}

size_t FlatIndex::size() const {
  std::shared_lock lock(mutex_);
  return ids_.size();
}

size_t FlatIndex::bytes() const {
  std::shared_lock lock(mutex_);
  return store_.bytes() + bias_.size() * sizeof(float);
}

FlatIndex::State FlatIndex::state() const {
  std::shared_lock lock(mutex_);
  return {ids_.ids(), {store_.codes().begin(), store_.codes().end()}, store_.scales(), ids_.next()};
}

void FlatIndex::restore(const State& state) {
  std::unique_lock lock(mutex_);
  const size_t count = count_of(state.ids);
  const std::vector<uint32_t> slots = ids_.slots_for_add(state.ids);
  store_.restore(state.codes.data(), state.codes.size(), state.scales.data(), state.scales.size(), count);
  if (metric_ == Metric::l2) {
    std::vector<float> scratch(dim());
    bias_.resize(count);
    for (size_t i = 0; i < count; ++i) bias_[i] = bias_of(i, scratch.data());
  }
  ids_.add(state.ids, slots);
  ids_.set_next(state.next_id);
}

}  // namespace tercet
