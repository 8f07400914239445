// A set of nodes, a bit each.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tercet {

class NodeBits {
 public:
  void reserve(size_t nodes) { words_.reserve((nodes + 63) / 64); }
  void resize(size_t nodes) { words_.resize((nodes + 63) / 64, 0); }
  void insert(uint32_t node) { words_[node / 64] |= uint64_t{1} << node % 64; }
  void erase(uint32_t node) { words_[node / 64] &= ~(uint64_t{1} << node % 64); }
  bool has(uint32_t node) const { return words_[node / 64] >> node % 64 & 1; }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace tercet
