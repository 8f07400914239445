// Random numbers that are the same on every machine: a function of the seed and nothing else.
#pragma once
#include <cstdint>

namespace tercet {

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
constexpr uint64_t kSplitMixStep = 0x9e3779b97f4a7c15u;  // from one state to the next
constexpr uint64_t split_mix(uint64_t& state) {
  uint64_t z = state += kSplitMixStep;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// In [0, below); `below` must be positive and less than 2^32, against which the bias is nothing.
inline uint64_t random_below(uint64_t& state, uint64_t below) {
  return (split_mix(state) >> 32) * below >> 32;
}

}  // namespace tercet
