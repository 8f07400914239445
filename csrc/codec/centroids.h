// Centroids as int8 rows with bfloat16 scales, biased so that the largest score is the nearest centroid.
#pragma once
#include <vector>

#include "core/aligned.h"
#include "core/types.h"

namespace tercet {

// |x - c|^2 = |x|^2 - 2 (<x, c> - |c|^2 / 2): the bias of a row is -|c|^2 / 2, of what the codes stand for,
// in float64. Scores of int8 rows are the same bits on every level, and so is what is nearest.
class Centroids {
 public:
  explicit Centroids(uint32_t dim, size_t count = 0);
  // Throws Error where sizes do not match or a scale is none.
  Centroids(uint32_t dim, AlignedVector<uint8_t> codes, std::vector<uint16_t> scales);

  size_t size() const { return scales_.size(); }
  uint32_t dim() const { return dim_; }
  const AlignedVector<uint8_t>& codes() const { return codes_; }
  const std::vector<uint16_t>& scales() const { return scales_; }
  size_t bytes() const { return codes_.size() + scales_.size() * (sizeof(uint16_t) + sizeof(float)); }

  void set(size_t i, const float* row);
  void get(size_t i, float* row) const;
  void copy(size_t i, const Centroids& from, size_t j);

  RowsView view() const;

 private:
  void update_bias(size_t i);

  uint32_t dim_;
  AlignedVector<uint8_t> codes_;
  std::vector<uint16_t> scales_;
  std::vector<float> bias_;
};

}  // namespace tercet
