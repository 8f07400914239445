#include "codec/int8_vectors.h"

#include "codec/quantise.h"
#include "core/error.h"

namespace tercet {

void quantise_vectors(const float* rows, size_t stride, uint32_t dim, size_t first, size_t count,
                      uint8_t* codes, float* scales) {
  for (size_t i = 0; i < count; ++i) {
    const float* const row = rows + i * stride;
    const float largest = largest_magnitude(row, dim);
    require(largest <= kMaxClusterMagnitude, "vectors: row ", first + i,
            " has a value that is not finite, or beyond 1e15 in magnitude");
    scales[i] = largest / 127;
    quantise(row, dim, scales[i], 0, codes + i * dim);
  }
}

Int8Panel::Int8Panel(uint32_t dim)
    : dim_(dim),
      gathered_(size_t{kPanelRows} * dim),
      values_(panel_groups(Format::int8, dim) * kernels().panel(Format::int8).panel_group_bytes),
      gathered_scales_(kPanelRows),
      scales_(kPanelRows),
      start_(kPanelRows) {}

Panel Int8Panel::pack(const Int8Vectors& vectors, size_t first, size_t count) {
  const Int8Vectors some = vectors.slice(first, count);
  kernels()
      .panel(Format::int8)
      .pack(some.codes, dim_, static_cast<int>(count), dim_, values_.data(), start_.data());
  for (size_t r = 0; r < kPanelRows; ++r) scales_[r] = r < count ? some.scales[r] : 0;
  return {values_.data(), start_.data(), scales_.data(), static_cast<int>(count)};
}

}  // namespace tercet
