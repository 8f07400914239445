// The views that travel between layers. Nothing here owns memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tercet {

// How the elements of a stored row are laid out. The bytes are the same on disk, in memory and on a GPU.
enum class Format : uint8_t {
  float32,     // IEEE binary32
  bfloat16,    // the upper half of a binary32
  int8,        // excess-128: byte = value + 128, value in [-127, 127]
  int4,        // a nibble c in [0, 15] stands for 2 c - 15; byte i holds dimension i in its low nibble and
               // dimension i + bytes in its high one, so that a vector of bytes unpacks to two of dimensions
  float32_l2,  // float32 that is scored by -|q - x|^2 instead of <q, x>
};
constexpr int kFormats = 5;

// Bytes of a row of `dim` elements; int4 rows are a whole number of 4-byte groups.
constexpr size_t row_bytes(Format format, uint32_t dim) {
  switch (format) {
    case Format::float32:
    case Format::float32_l2:
      return size_t{dim} * 4;
    case Format::bfloat16:
      return size_t{dim} * 2;
    case Format::int8:
      return dim;
    case Format::int4:
      return (size_t{dim} + 7) / 8 * 4;
  }
  return 0;
}

enum class Metric : uint8_t { dot, cosine, l2 };

// Rows of one format, `stride` bytes apart. `scales` (int8 and int4, bfloat16 bits, one per row) turns
// codes into values: value = scale * (byte - 128) or scale * (2 nibble - 15); null means 1. `bias`, if not
// null, is added to the score of its row.
struct RowsView {
  const uint8_t* data = nullptr;
  size_t rows = 0;
  size_t stride = 0;
  uint32_t dim = 0;
  Format format = Format::float32;
  const uint16_t* scales = nullptr;
  const float* bias = nullptr;

  const uint8_t* row(size_t i) const { return data + i * stride; }
};

// The token rows [begin, begin + count) of one text.
struct TokenSpan {
  uint64_t begin = 0;
  uint64_t count = 0;
};

// A score of a row; rows are counted within one scan.
struct Candidate {
  float score;
  uint32_t row;
};

}  // namespace tercet
