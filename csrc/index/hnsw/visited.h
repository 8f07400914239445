// Which nodes a search has seen: a bit each, and a list of them, by which they are forgotten again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tercet {

class Visited {
 public:
  void resize(size_t nodes) { bits_.resize((nodes + 63) / 64, 0); }

  void insert(uint32_t node) { insert(&node, 1, &node); }

  // Writes those of `count` nodes that are new to `out`, which may be `nodes` itself, and returns how many.
  // Without branches: whether a node is new is as good as random.
  size_t insert(const uint32_t* nodes, size_t count, uint32_t* out) {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t node = nodes[i];
      uint64_t& word = bits_[node / 64];
      const uint64_t bit = uint64_t{1} << node % 64;
      out[found] = node;
      found += (word & bit) == 0;
      word |= bit;
    }
    seen_.insert(seen_.end(), out, out + found);
    return found;
  }

  // Moves those of `nodes` that are new, which they stay, to the front, and returns how many.
  size_t keep_new(uint32_t* nodes, size_t count) const {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t node = nodes[i];
      nodes[found] = node;
      found += (bits_[node / 64] >> node % 64 & 1) == 0;
    }
    return found;
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
