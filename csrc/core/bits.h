// A set of small numbers, of nodes say, a bit each.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace tercet {

class BitSet {
 public:
  // Of numbers below `size`.
  void reserve(size_t size) { words_.reserve((size + 63) / 64); }
  void resize(size_t size) { words_.resize((size + 63) / 64, 0); }
  void insert(uint32_t i) { words_[i / 64] |= uint64_t{1} << i % 64; }
  void erase(uint32_t i) { words_[i / 64] &= ~(uint64_t{1} << i % 64); }
  bool has(uint32_t i) const { return words_[i / 64] >> i % 64 & 1; }

  // The numbers whose bit is set, from the lowest bit of a byte up.
  void assign_packed(const uint8_t* bits, size_t size) {
    static_assert(std::endian::native == std::endian::little);
    words_.assign((size + 63) / 64, 0);
    if (size == 0) return;
    std::memcpy(words_.data(), bits, (size + 7) / 8);
    if (size % 64) words_.back() &= (uint64_t{1} << size % 64) - 1;
  }
  // The numbers whose byte is not 0: numpy's bool is 1, but a view of other bytes may be anything.
  void assign(const uint8_t* set, size_t size) {
    static_assert(std::endian::native == std::endian::little);
    words_.assign((size + 63) / 64, 0);
    constexpr uint64_t kLow = 0x0101010101010101u;
    for (size_t w = 0; w < size / 64; ++w) {
      uint64_t bytes[8], any = 0, word = 0;
      std::memcpy(bytes, set + w * 64, 64);
      for (const uint64_t eight : bytes) any |= eight;
      for (size_t i = 0; any & ~kLow && i < 8; ++i) {  // as good as never: to 0 and 1
        bytes[i] = (((bytes[i] & ~(kLow << 7)) + 0x7f * kLow) | bytes[i]) >> 7 & kLow;
      }
      for (size_t i = 0; i < 8; ++i) {  // a product moves the lowest bits of 8 bytes side by side
        word |= (bytes[i] * 0x0102040810204080u >> 56) << 8 * i;
      }
      words_[w] = word;
    }
    for (size_t i = size / 64 * 64; i < size; ++i) {
      if (set[i]) insert(static_cast<uint32_t>(i));
    }
  }

  size_t count() const {
    // Without the instruction, which the oldest CPUs lack, counting is 12 others a word: of 31 words they are
    // shared, whose counts by bytes are at most 248.
    constexpr size_t kTogether = 31;
    constexpr uint64_t kOdd = 0x00ff00ff00ff00ffu;
    size_t total = 0;
    for (size_t first = 0; first < words_.size(); first += kTogether) {
      uint64_t by_byte = 0;
      for (size_t w = first; w < std::min(first + kTogether, words_.size()); ++w) {
        by_byte += counts_of_bytes(words_[w]);
      }
      total += ((by_byte & kOdd) + (by_byte >> 8 & kOdd)) * 0x0001000100010001u >> 48;
    }
    return total;
  }

  // Ascending.
  std::vector<uint32_t> list() const {
    // How many a word has is hard to foresee, and each wrong guess costs as much as ten numbers: they are
    // written four at a time, and those too many are written over.
    constexpr size_t kAtOnce = 4;
    std::vector<uint32_t> numbers(count() + kAtOnce);
    uint32_t* out = numbers.data();
    for (size_t w = 0; w < words_.size(); ++w) {
      uint64_t word = words_[w];
      uint32_t* const end = out + (counts_of_bytes(word) * 0x0101010101010101u >> 56);
      for (; out < end; out += kAtOnce) {
        for (size_t i = 0; i < kAtOnce; ++i, word &= word - 1) {
          out[i] = static_cast<uint32_t>(w * 64) + static_cast<uint32_t>(std::countr_zero(word));
        }
      }
      out = end;
    }
    numbers.resize(numbers.size() - kAtOnce);
    return numbers;
  }

  // Writes those of `count` numbers that are in the set to `in`, and the others to `out`; both have room for
  // all of them. Returns how many are in.
  size_t split(const uint32_t* numbers, size_t count, uint32_t* in, uint32_t* out) const {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t number = numbers[i];
      in[found] = number;
      out[i - found] = number;
      found += has(number);
    }
    return found;
  }
  // The same, of those that are in alone.
  size_t keep(const uint32_t* numbers, size_t count, uint32_t* in) const {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) {
      in[found] = numbers[i];
      found += has(numbers[i]);
    }
    return found;
  }

 private:
  // In each byte how many of its bits are set.
  static uint64_t counts_of_bytes(uint64_t word) {
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    return (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  }

  std::vector<uint64_t> words_;
};

}  // namespace tercet
