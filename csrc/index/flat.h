// FlatIndex: exact search over single vectors.
#pragma once
#include <shared_mutex>
#include <string>

#include "index/code_store.h"
#include "index/search.h"

namespace tercet {

// Thread-safe: searches run concurrently, changes wait for them and exclude each other.
class FlatIndex {
 public:
  FlatIndex(uint32_t dim, Metric metric, const std::string& codec, uint64_t seed = 0);

  // Encodes `count` rows under `ids` (null: numbered on), replacing ids that are there. All or nothing.
  Ids add(const float* vectors, size_t stride, size_t count, const Ids* ids, size_t threads);
  void remove(const Ids& ids);
  Results search(const float* queries, size_t count, size_t k, const Filters& filters, size_t threads) const;
  // Decoded rows of ids, [count, dim].
  std::vector<float> get(const Ids& ids) const;

  bool contains(const Ids& one) const;
  Ids ids() const;
  size_t size() const;
  size_t bytes() const;
  uint32_t dim() const { return store_.dim(); }
  Metric metric() const { return metric_; }
  const char* codec() const { return store_.codec().name(); }

  struct State {
    Ids ids;
    std::vector<uint8_t> codes;
    std::vector<uint16_t> scales;
    int64_t next_id;
  };
  State state() const;
  void restore(const State& state);

 private:
  // The largest magnitude that vectors and queries may have.
  float limit() const;
  void encode(size_t slot, const float* vector, float* scratch) noexcept;
  float bias_of(size_t slot, float* scratch) const;

  Metric metric_;
  CodeStore store_;
  std::vector<float> bias_;  // l2: -(norm of the stored vector)^2, by slot
  IdTable ids_;
  mutable std::shared_mutex mutex_;
};

}  // namespace tercet
