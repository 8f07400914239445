// Which nodes a search has seen: a bit each, and a list of them, by which they are forgotten again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tercet {

class Visited {
 public:
  void resize(size_t nodes) { bits_.resize((nodes + 63) / 64, 0); }

  // Whether the node is new.
  bool insert(uint32_t node) {
    uint64_t& word = bits_[node / 64];
    const uint64_t bit = uint64_t{1} << node % 64;
    if (word & bit) return false;
    word |= bit;
    seen_.push_back(node);
    return true;
  }

  size_t size() const { return seen_.size(); }
  void clear() {
    for (const uint32_t node : seen_) bits_[node / 64] = 0;
    seen_.clear();
  }

 private:
  std::vector<uint64_t> bits_;
  std::vector<uint32_t> seen_;
};

}  // namespace tercet
