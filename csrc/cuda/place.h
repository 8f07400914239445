// Rows as kernels read them: with a stride of whole vectors, and bytes of int8 in excess-128.
#pragma once
#include <cstdint>

namespace tercet::cuda {

struct PlaceArguments {
  const uint8_t* from;
  uint8_t* to;
  uint64_t rows;
  uint32_t row_bytes;
  uint32_t stride;
  uint8_t flip;  // bits of every byte
};

}  // namespace tercet::cuda
