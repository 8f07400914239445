// bfloat16 is the upper half of a binary32: same range, 8 bits of precision.
#pragma once
#include <bit>
#include <cstdint>

namespace tercet {

inline float bfloat16_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Round to nearest, ties to even. Finite values above the largest bfloat16 become infinite, as they should be
// refused: callers check the range.
inline uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The smallest bfloat16 that is not below a non-negative value.
inline uint16_t float_to_bfloat16_up(float value) {
  return static_cast<uint16_t>((std::bit_cast<uint32_t>(value) + 0xffff) >> 16);
}

}  // namespace tercet
