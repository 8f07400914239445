// Rounding to integers under one scale, as int8 rows and the queries of every integer codec are.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "codec/distance.h"

namespace tercet {

// NaN or infinite if a value is. Without their signs floats are ordered as their bits are, and the maximum of
// integers vectorises: that of floats would have to keep its order of comparisons.
inline float largest_magnitude(const float* row, uint32_t dim) {
  uint32_t largest = 0;
  for (uint32_t k = 0; k < dim; ++k) {
    largest = std::max(largest, std::bit_cast<uint32_t>(row[k]) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even, and vectorises.
inline float round_to_integer(float x) {
  constexpr float kShift = 12582912.0f;
  return (x + kShift) - kShift;
}

// Codes of a row under a scale, signed, plus `offset`. Dividing by the scale rather than multiplying with its
// inverse keeps codes within +-127: magnitude / scale <= 127 holds exactly.
inline void quantise(const float* row, uint32_t dim, float scale, int32_t offset, uint8_t* code) {
  if (scale == 0) {  // the zero vector, or one so small that it is zero in bfloat16 terms
    std::fill(code, code + dim, static_cast<uint8_t>(offset));
    return;
  }
  for (uint32_t k = 0; k < dim; ++k) {
    const float rounded = std::clamp(round_to_integer(row[k] / scale), -127.0f, 127.0f);
    code[k] = static_cast<uint8_t>(static_cast<int32_t>(rounded) + offset);
  }
}

// The length of row - scale * code, for signed codes, not below it.
inline float quantisation_error(const float* row, uint32_t dim, float scale, const uint8_t* code) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) {
    const double cut = row[k] - static_cast<double>(scale) * static_cast<int8_t>(code[k]);
    sum += cut * cut;
  }
  return rounded_up(std::sqrt(sum));
}

}  // namespace tercet
