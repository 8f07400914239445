// The best nodes that a search has seen so far, sorted, and which of them it has looked behind.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/types.h"

namespace tercet {

// A node and its score as one number, so that the order of numbers is that of candidates: score descending,
// then node ascending. The lowest bit says whether the node has been expanded.
class PoolEntry {
 public:
  PoolEntry() = default;
  PoolEntry(float score, uint32_t node) : key_(uint64_t{falling(score)} << 32 | uint64_t{node} << 1) {}

  uint32_t node() const { return static_cast<uint32_t>(key_) >> 1; }
  float score() const {
    const uint32_t rising = ~static_cast<uint32_t>(key_ >> 32);
    return std::bit_cast<float>(rising & 0x80000000u ? rising & 0x7fffffffu : ~rising);
  }
  bool expanded() const { return key_ & 1; }
  void expand() { key_ |= 1; }
  bool operator<(const PoolEntry& other) const { return key_ < other.key_; }

 private:
  static uint32_t falling(float score) {
    const uint32_t bits = std::bit_cast<uint32_t>(score);
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
  }
  uint64_t key_;
};

class Pool {
 public:
  void reset(size_t capacity) {
    entries_.resize(capacity);
    capacity_ = capacity;
    size_ = next_ = 0;
  }

  size_t size() const { return size_; }
  const PoolEntry* begin() const { return entries_.data(); }
  const PoolEntry* end() const { return entries_.data() + size_; }

  void insert(PoolEntry entry) {
    if (size_ == capacity_ && !(entry < entries_[size_ - 1])) return;
    PoolEntry* const at = std::lower_bound(entries_.data(), entries_.data() + size_, entry);
    const auto position = static_cast<size_t>(at - entries_.data());
    size_ += size_ < capacity_;
    std::memmove(at + 1, at, (size_ - 1 - position) * sizeof(PoolEntry));
    *at = entry;
    next_ = std::min(next_, position);
  }

  // Marks the best node not yet expanded, and returns it; kNoNode if there is none.
  uint32_t expand_next() {
    while (next_ < size_ && entries_[next_].expanded()) ++next_;
    if (next_ == size_) return 0xffffffff;
    entries_[next_].expand();
    return entries_[next_].node();
  }

 private:
  std::vector<PoolEntry> entries_;
  size_t capacity_ = 0, size_ = 0;
  size_t next_ = 0;  // before it, all are expanded
};

}  // namespace tercet
