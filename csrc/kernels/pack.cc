#include "kernels/pack.h"

#include <cstring>

#include "core/bfloat16.h"
#include "kernels/kernels.h"

namespace tercet {
namespace {

size_t groups_of(size_t row_bytes) { return (row_bytes + kGroupBytes - 1) / kGroupBytes; }

// Four bytes at a time: group g of row r goes to panel[g][r]. What is missing of the last group stays zero,
// and so do padding rows and groups: they contribute nothing.
void pack_groups(const uint8_t* rows, size_t stride, int count, size_t row_bytes, uint8_t* panel,
                 size_t groups) {
  constexpr size_t kStep = kPanelRows * kGroupBytes;
  const size_t whole = row_bytes / kGroupBytes, tail = row_bytes % kGroupBytes;
  if (count < kPanelRows || whole < groups) std::memset(panel, 0, groups * kStep);
  for (int r = 0; r < count; ++r) {
    const uint8_t* const row = rows + static_cast<size_t>(r) * stride;
    uint8_t* const column = panel + r * kGroupBytes;
    for (size_t g = 0; g < whole; ++g) std::memcpy(column + g * kStep, row + g * kGroupBytes, kGroupBytes);
    std::memcpy(column + whole * kStep, row + whole * kGroupBytes, tail);
  }
}

}  // namespace

void pack_float32(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                  int32_t*) noexcept {
  pack_groups(rows, stride, count, size_t{dim} * 4, panel, dim);
}

void pack_bfloat16_widened(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                           int32_t*) noexcept {
  std::memset(panel, 0, groups_of(size_t{dim} * 2) * 2 * kPanelRows * sizeof(float));
  for (int r = 0; r < count; ++r) {
    const uint8_t* const row = rows + static_cast<size_t>(r) * stride;
    for (uint32_t k = 0; k < dim; ++k) {
      uint16_t bits;
      std::memcpy(&bits, row + 2 * k, 2);
      const float value = bfloat16_to_float(bits);
      std::memcpy(panel + (size_t{k} * kPanelRows + r) * 4, &value, 4);
    }
  }
}

void pack_bfloat16_pairs(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                         int32_t*) noexcept {
  pack_groups(rows, stride, count, size_t{dim} * 2, panel, groups_of(size_t{dim} * 2));
}

template <Format kFormat>
void pack_integers(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                   int32_t* start) noexcept {
  pack_groups(rows, stride, count, dim, panel, panel_groups(kFormat, dim));
  for (int r = 0; r < kPanelRows; ++r) {
    const uint8_t* const row = rows + static_cast<size_t>(r) * stride;
    int32_t sum = 0;
    const uint32_t end = r < count ? dim : 0;
    for (uint32_t k = 0; k < end;) {  // in 16 bits, which 255 values cannot leave: widening takes time
      int16_t part = 0;
      for (const uint32_t stop = end - k < 255 ? end : k + 255; k < stop; ++k) {
        part = static_cast<int16_t>(part + static_cast<int8_t>(row[k]));
      }
      sum += part;
    }
    start[r] = -excess_of(kFormat) * sum;
  }
}
template void pack_integers<Format::int8>(const uint8_t*, size_t, int, uint32_t, uint8_t*, int32_t*) noexcept;
template void pack_integers<Format::int4>(const uint8_t*, size_t, int, uint32_t, uint8_t*, int32_t*) noexcept;
template void pack_integers<Format::int2>(const uint8_t*, size_t, int, uint32_t, uint8_t*, int32_t*) noexcept;
template void pack_integers<Format::int1>(const uint8_t*, size_t, int, uint32_t, uint8_t*, int32_t*) noexcept;

}  // namespace tercet
