// A random rotation in O(d log d): what makes one scale per vector fit all its dimensions.
#pragma once
#include <cstdint>
#include <vector>

namespace tercet {

// Rounds of random signs and a Hadamard transform of the largest power of two of dimensions, by turns the
// first and the last ones (the FhtKac rotation of the RaBitQ library, without its Kac steps: four overlapping
// transforms mix as well). Orthogonal: lengths and dot products stay. A function of (dim, seed) and nothing
// else; float32 in a fixed order, so the same bits on every machine.
class Rotation {
 public:
  Rotation(uint32_t dim, uint64_t seed);

  void apply(const float* in, float* out) const;
  void invert(const float* in, float* out) const;

 private:
  float* segment(int round, float* v) const { return round % 2 ? v + (dim_ - power_) : v; }

  uint32_t dim_, power_ = 1;
  int rounds_;
  std::vector<float> signs_;  // [rounds][dim], +-1
};

}  // namespace tercet
