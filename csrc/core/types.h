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
  int4,        // a code c in [0, 15] stands for 2 c - 15
  int2,        // a code c in [0, 3] stands for 2 c - 3
  int1,        // a code c in [0, 1] stands for 2 c - 1
  float32_l2,  // float32 that is scored by -|q - x|^2 instead of <q, x>
  product,     // the number of an entry for each of kProductParts parts of the dimensions
};
constexpr int kFormats = 7;  // that rows are multiplied in: all but product, whose scores are looked up
constexpr const char* kFormatNames[kFormats] = {"float32", "bfloat16", "int8",      "int4",
                                                "int2",    "int1",     "float32_l2"};

// Codes smaller than a byte lie in planes: a row is blocks of 64 dimensions, and byte i of a block of n bytes
// holds the codes of dimensions i, i + n, i + 2 n and so on of that block, from the lowest bits up, so that a
// shift and a mask turn vectors of bytes into vectors of codes. What is left over is a shorter block. Blocks
// are whole numbers of 4-byte groups.
constexpr uint32_t code_bits(Format format) {
  return format == Format::int4 ? 4 : format == Format::int2 ? 2 : format == Format::int1 ? 1 : 8;
}
constexpr bool is_packed(Format format) { return code_bits(format) < 8; }
// Formats that are scored in integers.
constexpr bool is_integer(Format format) {
  return format == Format::int8 || format == Format::product || is_packed(format);
}
constexpr uint32_t kBlockDims = 64;

// A product code is one byte a part.
constexpr uint32_t kProductParts = 16;
constexpr uint32_t kProductEntries = 256;  // of each part

// Where a packed row has the code of dimension k.
struct CodePosition {
  uint32_t byte, shift;
};
constexpr CodePosition code_position(Format format, uint32_t dim, uint32_t k) {
  const uint32_t bits = code_bits(format), first = k / kBlockDims * kBlockDims;
  const uint32_t dims = dim - first < kBlockDims ? dim - first : kBlockDims;
  const uint32_t bytes = (dims * bits + 31) / 32 * 4;
  return {first * bits / 8 + (k - first) % bytes, (k - first) / bytes * bits};
}

// Bytes of a row of `dim` elements.
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
    case Format::int2:
    case Format::int1:
      return (size_t{dim} * code_bits(format) + 31) / 32 * 4;
    case Format::product:
      return kProductParts;
  }
  return 0;
}

enum class Metric : uint8_t { dot, cosine, l2 };

// Rows of one format, `stride` bytes apart. `scales` (integer formats, bfloat16 bits, one per row) is what
// the integers that codes stand for are multiplied with; null means 1. `bias`, if not null, is added to the
// score of its row. Packed and product rows may be residuals: `centroids` then says of each which centroid
// has to be added to it.
struct RowsView {
  const uint8_t* data = nullptr;
  size_t rows = 0;
  size_t stride = 0;
  uint32_t dim = 0;
  Format format = Format::float32;
  const uint16_t* scales = nullptr;
  const float* bias = nullptr;
  const uint16_t* centroids = nullptr;

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
