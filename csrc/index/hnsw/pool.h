// The best nodes that a search has seen so far, sorted, and which of them it has looked behind.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
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

  // Whether there is room, or something worse to give way.
  bool takes(PoolEntry entry) const { return size_ < capacity_ || entry < entries_[size_ - 1]; }

  // Takes the best of them; sorts `entries`. Several at once: what they push back moves once for all of them,
  // which is a tenth of a search faster than finding the place of each and moving what is behind it.
  void insert(PoolEntry* entries, size_t count) {
    sort(entries, count);
    size_t old = size_;
    for (size_t over = old + count; over > capacity_; --over) {
      count && (old == 0 || entries_[old - 1] < entries[count - 1]) ? --count : --old;
    }
    size_ = old + count;
    for (PoolEntry* out = entries_.data() + size_; count > 0;) {
      const bool is_old = old > 0 && entries[count - 1] < entries_[old - 1];
      *--out = is_old ? entries_[--old] : entries[--count];
    }
    next_ = std::min(next_, old);
  }

  // The best node not yet expanded; kNoNode if there is none.
  uint32_t next() {
    while (next_ < size_ && entries_[next_].expanded()) ++next_;
    return next_ == size_ ? 0xffffffff : entries_[next_].node();
  }
  // Marks it.
  uint32_t expand_next() {
    const uint32_t node = next();
    if (next_ < size_) entries_[next_].expand();
    return node;
  }

 private:
  // By insertion: they are few.
  static void sort(PoolEntry* entries, size_t count) {
    for (size_t i = 1; i < count; ++i) {
      const PoolEntry entry = entries[i];
      size_t at = i;
      for (; at > 0 && entry < entries[at - 1]; --at) entries[at] = entries[at - 1];
      entries[at] = entry;
    }
  }

  std::vector<PoolEntry> entries_;
  size_t capacity_ = 0, size_ = 0;
  size_t next_ = 0;  // before it, all are expanded
};

}  // namespace tercet
