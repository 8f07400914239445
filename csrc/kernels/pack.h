// Packs query rows into panels; see kernels.h for the layouts. Plain C++, but see pack_avx512-inl.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace tercet {

// [dim][32] float
void pack_float32(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                  int32_t* start) noexcept;

// [dim / 2][2][32] float: bfloat16 widened, for levels that multiply in float32
void pack_bfloat16_widened(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                           int32_t* start) noexcept;

// [dim / 2][32][2] bfloat16
void pack_bfloat16_pairs(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                         int32_t* start) noexcept;

// What kernels multiply a query with is more than what a code stands for by so much: int8 is stored as value
// + 128; a packed code c of n bits is multiplied as 2 c and stands for 2 c - (2^n - 1).
constexpr int32_t excess_of(Format format) {
  return format == Format::int8 ? 128 : (1 << code_bits(format)) - 1;
}

// [panel_groups][32][4] int8, of an integer format
template <Format kFormat>
void pack_integers(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                   int32_t* start) noexcept;

}  // namespace tercet
