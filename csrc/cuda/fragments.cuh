// Where things lie in the registers of a warp.
//
// A tile is 16 stored rows by a panel of 32 query rows, four instructions wide. With g = lane / 4 and
// t = lane % 4, a lane holds the scores of rows g and g + 8 with eight query rows, 8 j + 2 t + i for j in
// 0..3 and i in 0, 1. What belongs to the query rows of a panel lies in memory by column(): these eight side
// by side, so that a lane loads its own by two vectors.
//
// Dot products do not care in which order dimensions come, as long as both sides agree. So lane t loads
// consecutive bytes of a row as they are stored, and what is in them decides where the query rows have the
// same dimensions: permute the query, never the document. A chunk of a row is what the four lanes load at
// once; a step is what one instruction multiplies of it, two words a lane.
#pragma once
#include <cstdint>

#include "core/types.h"

namespace tercet::cuda {

constexpr uint32_t kPanelRows = 32;
constexpr uint32_t kTileRows = 16;
constexpr uint32_t kNoDimension = ~0u;

// Where of the 32 values of a panel that of query row r lies.
constexpr uint32_t column(uint32_t r) { return r % 8 / 2 * 8 + r / 8 * 2 + r % 2; }
// The query row whose value is the i-th of lane t's eight.
constexpr uint32_t query_row(uint32_t t, uint32_t i) { return i / 2 * 8 + 2 * t + i % 2; }

// How rows of a format are loaded. Packed codes come in planes, of which a word of a row has several.
template <Format kFormat>
struct Layout {
  static constexpr uint32_t kPlanes = 8 / code_bits(kFormat);
  static constexpr uint32_t kElementBytes = kFormat == Format::float32    ? 4
                                            : kFormat == Format::bfloat16 ? 2
                                                                          : 1;
  // Bytes of a row that a lane loads at once: a chunk is 128 dimensions of packed codes, and 64 bytes else.
  static constexpr uint32_t kLaneBytes = kFormat == Format::int1 ? 4 : kFormat == Format::int2 ? 8 : 16;
  static constexpr uint32_t kChunkBytes = 4 * kLaneBytes;
  static constexpr uint32_t kSteps = kLaneBytes / 4 * kPlanes / 2;  // of a chunk
  static constexpr uint32_t kWordElements = 4 / kElementBytes;      // in a word of a step
  // Of so many dimensions and fewer, a panel of a format of integers is so many chunks, which stay in
  // registers. Of bfloat16 it would take half of them all; it is read from the nearest cache in a fraction of
  // the time that its rows take.
  static constexpr uint32_t kResidentDims = is_integer(kFormat) ? 128 : 0;
  static constexpr uint32_t kResidentChunks = kResidentDims * kElementBytes / kPlanes / kChunkBytes;

  // Bytes from row to row: lanes load whole vectors, or nothing, where a row ends within a chunk.
  static constexpr uint32_t stride(uint32_t dim) {
    const auto bytes = static_cast<uint32_t>(row_bytes(kFormat, dim));
    return (bytes + kLaneBytes - 1) / kLaneBytes * kLaneBytes;
  }
  static constexpr uint32_t chunks(uint32_t dim) {
    return dim <= kResidentDims ? kResidentChunks : (stride(dim) + kChunkBytes - 1) / kChunkBytes;
  }

  // The dimension that element e of word h (0 or 1) of lane t is of, in a step of a row; kNoDimension for
  // what is no code.
  static constexpr uint32_t dimension(uint32_t dim, uint32_t step, uint32_t t, uint32_t h, uint32_t e) {
    const uint32_t word = 2 * (step % kSteps) + h;
    const uint32_t byte =
        step / kSteps * kChunkBytes + t * kLaneBytes + word / kPlanes * 4 + e * kElementBytes;
    if constexpr (kPlanes == 1) {
      return byte / kElementBytes < dim ? byte / kElementBytes : kNoDimension;
    } else {
      constexpr uint32_t kBlockBytes = kBlockDims * code_bits(kFormat) / 8;
      const uint32_t first = byte / kBlockBytes * kBlockDims;
      if (first >= dim) return kNoDimension;
      const uint32_t dims = dim - first < kBlockDims ? dim - first : kBlockDims;
      const uint32_t plane_bytes = (dims * code_bits(kFormat) + 31) / 32 * 4;
      const uint32_t k = word % kPlanes * plane_bytes + byte % kBlockBytes;
      return byte % kBlockBytes < plane_bytes && k < dims ? first + k : kNoDimension;
    }
  }
};

// Of float32, whose sums have an order, nothing is permuted: all lanes of a quarter load the same 16 bytes,
// and a panel has, for each dimension, the values of its 32 query rows by column().
template <>
struct Layout<Format::float32> {
  static constexpr uint32_t kElementBytes = 4, kLaneBytes = 16, kChunkBytes = 16;
  static constexpr uint32_t kResidentDims = 0, kResidentChunks = 0;
  static constexpr uint32_t stride(uint32_t dim) {
    return (4 * dim + kLaneBytes - 1) / kLaneBytes * kLaneBytes;
  }
  static constexpr uint32_t chunks(uint32_t dim) { return stride(dim) / kChunkBytes; }
};

// 32-bit words of a panel. Of instructions' operands, [step][2][lane][4]: of a lane and a step the two words
// of each of the four parts of the panel, as two vectors.
template <Format kFormat>
constexpr uint32_t panel_words(uint32_t dim) {
  if constexpr (kFormat == Format::float32) {
    return Layout<kFormat>::chunks(dim) * 4 * kPanelRows;
  } else {
    return Layout<kFormat>::chunks(dim) * Layout<kFormat>::kSteps * 8 * 32;
  }
}
// Where the word of query row r, lane t and half h of a step lies.
constexpr uint32_t operand_word(uint32_t step, uint32_t r, uint32_t t, uint32_t h) {
  const uint32_t part = r / 8, lane = r % 8 * 4 + t;
  return ((step * 2 + part / 2) * 32 + lane) * 4 + part % 2 * 2 + h;
}

}  // namespace tercet::cuda
