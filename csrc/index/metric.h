// What metrics make of vectors before they are stored or searched with.
#pragma once
#include <cmath>
#include <cstdint>

namespace tercet {

inline double squared_norm(const float* v, uint32_t dim) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) sum += static_cast<double>(v[k]) * v[k];
  return sum;
}

// Unit length; the zero vector has no direction and stays zero, so it scores 0 with everything.
inline void normalise(const float* v, uint32_t dim, float* out) {
  const double norm = std::sqrt(squared_norm(v, dim));
  for (uint32_t k = 0; k < dim; ++k) out[k] = norm > 0 ? static_cast<float>(v[k] / norm) : 0.0f;
}

}  // namespace tercet
