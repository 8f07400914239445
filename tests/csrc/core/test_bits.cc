#include <random>

#include "check.h"
#include "core/bits.h"

using namespace tercet;

TEST(a_bit_set_counts_and_lists_what_is_in_it) {
  std::mt19937 random(2);
  for (const size_t size : {0u, 1u, 7u, 63u, 64u, 65u, 127u, 1000u, 64u * 31, 64u * 31 + 1, 70000u}) {
    for (const unsigned in_1000 : {0u, 1u, 50u, 500u, 950u, 1000u}) {
      std::vector<uint8_t> bytes(size), packed((size + 7) / 8 + 1, 0);
      std::vector<uint32_t> wanted;
      for (size_t i = 0; i < size; ++i) {
        bytes[i] = random() % 1000 < in_1000;
        packed[i / 8] |= static_cast<uint8_t>(bytes[i] << i % 8);
        if (bytes[i] && size % 2) bytes[i] = static_cast<uint8_t>(1 + random() % 255);
        if (bytes[i]) wanted.push_back(static_cast<uint32_t>(i));
      }
      packed[size / 8] |= static_cast<uint8_t>(0xff << size % 8);  // what is beyond does not count
      BitSet of_bytes, of_bits, of_numbers;
      of_bytes.assign(bytes.data(), size);
      of_bits.assign_packed(packed.data(), size);
      of_numbers.resize(size);
      for (const uint32_t i : wanted) of_numbers.insert(i);
      for (const BitSet* set : {&of_bytes, &of_bits, &of_numbers}) {
        CHECK(set->count() == wanted.size());
        CHECK(set->list() == wanted);
      }
    }
  }
}
