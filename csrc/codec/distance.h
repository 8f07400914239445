// Lengths in float64, as bounds: never below what they stand for.
#pragma once
#include <cmath>
#include <cstdint>

namespace tercet {

// As float32, not below `x`; the factor also covers the rounding of a float64 sum over any number of
// dimensions.
inline float rounded_up(double x) { return static_cast<float>(x * (1 + 0x1p-22)); }

inline float distance(const float* a, const float* b, uint32_t dim) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) {
    const double difference = static_cast<double>(a[k]) - b[k];
    sum += difference * difference;
  }
  return rounded_up(std::sqrt(sum));
}

inline float length(const float* a, uint32_t dim) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) sum += static_cast<double>(a[k]) * a[k];
  return rounded_up(std::sqrt(sum));
}

}  // namespace tercet
