// The grid of packed codes: what fitting it and encoding with it agree on (codec/packed.cc).
//
// Functions are static, so that none compiled for a higher level is linked into code for all machines.
#pragma once
#include <cstdint>

namespace tercet {

// Values come in units of the largest magnitude of their row. A step s maps [c - 2^(bits - 1), c - 2^(bits -
// 1) + 1) s to the code c, which stands for 2 c - (2^bits - 1): the widest grid ends at the largest
// magnitude, the narrowest at 0.4 of it. One bit has one grid: the signs.
constexpr int kGridWidths = 16;
static constexpr float grid_inverse_step(int bits, int width) {
  return static_cast<float>(1 << (bits - 1)) / (1.0f - 0.04f * static_cast<float>(width));
}

static inline int grid_code(float x, float inverse_step, int bits) {
  const int half = 1 << (bits - 1);
  // truncation is floor, since the sum is not negative where it is not clamped
  const int code = static_cast<int>(x * inverse_step + static_cast<float>(half));
  return code < 0 ? 0 : code < 2 * half ? code : 2 * half - 1;
}

struct GridFit {
  float inverse_step;
  float product;  // <x, codes>, of the integers that codes stand for
};

// Sums over a row, padded with zeros to whole lanes: dimension k is summed in lane k % kGridLanes.
constexpr uint32_t kGridLanes = 16;

}  // namespace tercet
