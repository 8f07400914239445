// Vectors as queries of int8 rows: quantised once, packed into panels as often as an algorithm likes.
#pragma once
#include <cstring>
#include <vector>

#include "core/aligned.h"
#include "core/types.h"
#include "kernels/kernels.h"

namespace tercet {

// Squared lengths of up to 65535 dimensions, and their products with scales, stay finite in float32.
constexpr float kMaxClusterMagnitude = 1e15f;

// Signed codes, one row after the other, and float32 scales: value = scale * code.
struct Int8Vectors {
  const uint8_t* codes;
  const float* scales;
  size_t count;
  uint32_t dim;

  Int8Vectors slice(size_t first, size_t n) const { return {codes + first * dim, scales + first, n, dim}; }
};

// Quantises `count` float32 rows, `stride` floats apart. Throws Error, in which the first row has the number
// `first`, for a value that is not finite or too large.
void quantise_vectors(const float* rows, size_t stride, uint32_t dim, size_t first, size_t count,
                      uint8_t* codes, float* scales);

// A panel that is packed again and again.
class Int8Panel {
 public:
  explicit Int8Panel(uint32_t dim);

  // Of vectors [first, first + count), count <= 32.
  Panel pack(const Int8Vectors& vectors, size_t first, size_t count);

  // Of vectors which[0], which[1], ...
  template <class Index>
  Panel gather(const Int8Vectors& vectors, const Index* which, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(gathered_.data() + i * dim_, vectors.codes + size_t{which[i]} * dim_, dim_);
      gathered_scales_[i] = vectors.scales[which[i]];
    }
    return pack({gathered_.data(), gathered_scales_.data(), count, dim_}, 0, count);
  }

 private:
  uint32_t dim_;
  AlignedVector<uint8_t> gathered_, values_;
  AlignedVector<float> gathered_scales_, scales_;
  AlignedVector<int32_t> start_;
};

}  // namespace tercet
