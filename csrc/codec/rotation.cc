#include "codec/rotation.h"

#include <algorithm>

#include "core/random.h"
#include "kernels/kernels.h"

namespace tercet {
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
    kernels().hadamard(segment(round, out), power_);
  }
}

void Rotation::invert(const float* in, float* out) const {
  std::copy(in, in + dim_, out);
  for (int round = rounds_ - 1; round >= 0; --round) {
    kernels().hadamard(segment(round, out), power_);
    for (uint32_t k = 0; k < dim_; ++k) out[k] *= signs_[static_cast<size_t>(round) * dim_ + k];
  }
}

}  // namespace tercet
