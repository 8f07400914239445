// The views that travel between layers. Nothing here owns memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tercet {

// How the elements of a stored row are laid out. The bytes are the same on disk, in memory and on a GPU.
enum class Format : uint8_t {
  float32,   // IEEE binary32
  bfloat16,  // the upper half of a binary32
  int8,      // excess-128: byte = value + 128, value in [-127, 127]
};

constexpr size_t element_bytes(Format format) {
  return format == Format::float32 ? 4 : format == Format::bfloat16 ? 2 : 1;
}

enum class Metric : uint8_t { dot, cosine, l2 };

// Rows of one format, `stride` bytes apart. `scales` (int8 only, bfloat16 bits, one per row) turns codes into
// values: value = scale * (byte - 128); null means 1. `bias`, if not null, is added to the score of its row.
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
