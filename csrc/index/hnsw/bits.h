// A set of nodes, a bit each.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace tercet {

class NodeBits {
 public:
  void reserve(size_t nodes) { words_.reserve((nodes + 63) / 64); }
  void resize(size_t nodes) { words_.resize((nodes + 63) / 64, 0); }
  void insert(uint32_t node) { words_[node / 64] |= uint64_t{1} << node % 64; }
  void erase(uint32_t node) { words_[node / 64] &= ~(uint64_t{1} << node % 64); }
  // The nodes whose bit is set, from the lowest bit of a byte up.
  void assign_packed(const uint8_t* bits, size_t nodes) {
    static_assert(std::endian::native == std::endian::little);
    words_.assign((nodes + 63) / 64, 0);
    std::memcpy(words_.data(), bits, (nodes + 7) / 8);
    if (nodes % 64) words_.back() &= (uint64_t{1} << nodes % 64) - 1;
  }
  // The nodes whose byte is 1, not 0.
  void assign(const uint8_t* set, size_t nodes) {
    static_assert(std::endian::native == std::endian::little);
    words_.assign((nodes + 63) / 64, 0);
    for (size_t w = 0; w < nodes / 64; ++w) {
      uint64_t word = 0;
      for (size_t i = 0; i < 64; i += 8) {  // a product moves the lowest bits of 8 bytes side by side
        uint64_t bytes;
        std::memcpy(&bytes, set + w * 64 + i, 8);
        word |= (bytes * 0x0102040810204080u >> 56) << i;
      }
      words_[w] = word;
    }
    for (size_t i = nodes / 64 * 64; i < nodes; ++i) {
      if (set[i]) insert(static_cast<uint32_t>(i));
    }
  }
  size_t count() const {
    size_t count = 0;
    for (const uint64_t word : words_) count += static_cast<size_t>(std::popcount(word));
    return count;
  }
  // Ascending.
  std::vector<uint32_t> list() const {
    std::vector<uint32_t> nodes;
    for (size_t w = 0; w < words_.size(); ++w) {
      for (uint64_t word = words_[w]; word; word &= word - 1) {
        nodes.push_back(static_cast<uint32_t>(w * 64) + static_cast<uint32_t>(std::countr_zero(word)));
      }
    }
    return nodes;
  }
  // Writes those of `count` nodes that are in the set to `in`, and the others to `out`; both have room for
  // all of them. Returns how many are in.
  size_t split(const uint32_t* nodes, size_t count, uint32_t* in, uint32_t* out) const {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t node = nodes[i];
      in[found] = node;
      out[i - found] = node;
      found += has(node);
    }
    return found;
  }
  // The same, of those that are in alone.
  size_t keep(const uint32_t* nodes, size_t count, uint32_t* in) const {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
      in[found] = nodes[i];
      found += has(nodes[i]);
    }
    return found;
  }
  bool has(uint32_t node) const { return words_[node / 64] >> node % 64 & 1; }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace tercet
