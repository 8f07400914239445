#include "codec/rotation.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"

namespace tercet {
namespace {

constexpr uint32_t kColumns = 16, kRows = 8;

// The first four rounds of butterflies, whose partners are less than 16 apart, of kRows rows of 16:
// transposed, so that a row of partners is a vector. The sums are the same, bit for bit.
void near_butterflies(float* v) {
  float t[kColumns][kRows];
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) t[c][r] = v[r * kColumns + c];
  }
  for (uint32_t half = 1; half < kColumns; half *= 2) {
    for (uint32_t c = 0; c < kColumns; ++c) {
      if (c & half) continue;
      for (uint32_t r = 0; r < kRows; ++r) {
        const float a = t[c][r], b = t[c + half][r];
        t[c][r] = a + b;
        t[c + half][r] = a - b;
      }
    }
  }
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) v[r * kColumns + c] = t[c][r];
  }
}

// Normalised, so its own inverse.
void hadamard(float* v, uint32_t n) {
  uint32_t first = 1;
  if (n >= kColumns * kRows) {
    for (uint32_t i = 0; i < n; i += kColumns * kRows) near_butterflies(v + i);
    first = kColumns;
  }
  for (uint32_t half = first; half < n; half *= 2) {
    for (uint32_t i = 0; i < n; i += 2 * half) {
      for (uint32_t k = i; k < i + half; ++k) {
        const float a = v[k], b = v[k + half];
        v[k] = a + b;
        v[k + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(n));
  for (uint32_t k = 0; k < n; ++k) v[k] *= scale;
}

}  // namespace

Rotation::Rotation(uint32_t dim, uint64_t seed) : dim_(dim) {
  while (power_ * 2 <= dim) power_ *= 2;
  rounds_ = power_ == dim ? 2 : 4;
  signs_.resize(static_cast<size_t>(rounds_) * dim);
  uint64_t bits = 0;
  for (size_t i = 0; i < signs_.size(); ++i) {
    if (i % 64 == 0) bits = split_mix(seed);
    signs_[i] = bits >> i % 64 & 1 ? -1.0f : 1.0f;
  }
}

void Rotation::apply(const float* in, float* out) const {
  std::copy(in, in + dim_, out);
  for (int round = 0; round < rounds_; ++round) {
    for (uint32_t k = 0; k < dim_; ++k) out[k] *= signs_[static_cast<size_t>(round) * dim_ + k];
    hadamard(segment(round, out), power_);
  }
}

void Rotation::invert(const float* in, float* out) const {
  std::copy(in, in + dim_, out);
  for (int round = rounds_ - 1; round >= 0; --round) {
    hadamard(segment(round, out), power_);
    for (uint32_t k = 0; k < dim_; ++k) out[k] *= signs_[static_cast<size_t>(round) * dim_ + k];
  }
}

}  // namespace tercet
