// The seeds of a target for libFuzzer, which otherwise takes them from files: some mutations begin with one.
#include <algorithm>

#include "fuzz.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  static const std::vector<fuzz::Bytes> seeds = fuzz::seeds();
  if (size <= 1 || seed % 64 == 0) {
    const fuzz::Bytes& from = seeds[seed / 64 % seeds.size()];
    size = std::min(from.size(), max_size);
    std::copy_n(from.begin(), size, data);
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
