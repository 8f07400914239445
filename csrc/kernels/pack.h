// Packs query rows into panels; see kernels.h for the layouts. Runs once per query, so plain C++.
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

// [panel_groups][32][4] int8, of an integer format
template <Format kFormat>
void pack_integers(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                   int32_t* start) noexcept;

}  // namespace tercet
