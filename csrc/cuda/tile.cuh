// The tile: rows of a range, 16 at a time, past a panel of 32 query rows. What becomes of their scores is up
// to the end that the caller gives; MaxSim, bins and tables are ends of this one loop.
//
// For 16 rows of 128 dimensions and 32 query rows, the loop of MaxSim is, of int8 / int4 / int2 / int1 and as
// compiled for sm_120, 170 / 158 / 154 / 152 instructions of a warp, and 178 / 174 of residuals of 2 bits / 1
// bit:
//   16 multiplications of matrices, 16 fused multiply-adds, 16 maxima, with centroids 16 additions and 4
//   loads; 0 / 24 / 28 / 28 shifts and masks; 2 loads of scales, 2 of the start, 4 / 2 / 2 / 2 of codes; 31
//   moves, of int8 77, since an operand is four registers in a row of two rows by turns; the rest is
//   addresses and the loop.
// On four schedulers these are 38 to 45 cycles of a multiprocessor. Memory takes longer where codes are
// large: 130 / 66 / 34 / 18 bytes a row, at 3 TB/s for 132 multiprocessors at 1.75 GHz (13 bytes a cycle),
// are 160 / 81 / 42 / 22 cycles. So with one panel int8 and int4 are bound by reading, int2 is even, int1 is
// bound by instructions; and the float32 scores of centroids, 128 bytes a row, come from L2 at less than
// twice that speed: 90 cycles.
//
// Little's law: 3 TB/s times 700 ns are 16 KB in flight on each multiprocessor. Its 12 warps have kAhead
// chunks of 16 rows each on their way: 2 of 1 KB, 4 of 512 bytes, or 8 of 256.
#pragma once
#include <limits>

#include "cuda/operands.cuh"

namespace tercet::cuda {

// Chunks of the rows [from, to), tile by tile, some of them on their way. Rows behind the last are the last
// once more: under a maximum they do no harm.
template <Format kFormat, bool kResident, bool kResidual>
class RowReader {
 public:
  using Place = Layout<kFormat>;
  static constexpr int kWords = Operands<kFormat>::kWords;
  // Scores of centroids take registers and are read from a cache, which is waited for longer than memory; of
  // more dimensions there are more chunks, and more operands to read beside them.
  static constexpr uint32_t kAhead = kResident && !kResidual ? 32 / Place::kLaneBytes : 2;

  TERCET_DEVICE RowReader(const Rows& rows, uint32_t chunks, uint32_t first, uint32_t from, uint32_t to)
      : stride_(rows.stride), chunks_(chunks), last_(to - 1), row_(from + lane() / 4) {
    const uint32_t skipped = kFormat == Format::float32 ? 0 : lane() % 4 * Place::kLaneBytes;
    base_ = rows.codes + static_cast<uint64_t>(first) * rows.stride + skipped;
    bytes_ = rows.stride > skipped ? rows.stride - skipped : 0;
    TERCET_UNROLL
    for (Chunk<kWords>& chunk : ahead_) chunk = load();
  }

  TERCET_DEVICE Chunk<kWords> next() {
    const Chunk<kWords> chunk = ahead_[0];
    TERCET_UNROLL
    for (uint32_t i = 0; i + 1 < kAhead; ++i) ahead_[i] = ahead_[i + 1];
    ahead_[kAhead - 1] = load();
    return chunk;
  }

 private:
  TERCET_DEVICE Words<kWords> load(uint32_t row) const {
    const uint32_t byte = chunk_ * Place::kChunkBytes;
    if (byte >= bytes_) return {};  // the row ends before
    const uint8_t* const p = base_ + static_cast<uint64_t>(row < last_ ? row : last_) * stride_ + byte;
    return load_streamed(reinterpret_cast<const Words<kWords>*>(p));
  }
  TERCET_DEVICE Chunk<kWords> load() {
    const Chunk<kWords> loaded{load(row_), load(row_ + 8)};
    if (++chunk_ == chunks_) {
      chunk_ = 0;
      row_ += kTileRows;
    }
    return loaded;
  }

  const uint8_t* base_;  // of what this lane loads
  uint32_t bytes_;       // from there to the end of a row
  uint32_t stride_, chunks_, last_, row_, chunk_ = 0;
  Chunk<kWords> ahead_[kAhead];
};

// The exact float32 of a sum that is at most 2^22 in magnitude, plus 1.5 * 2^23, has the bits of the sum plus
// those of 1.5 * 2^23: added to the start, it costs nothing, where a conversion takes a pipe of its own for
// four times as long as an addition. Taking it away is part of the multiplication with the scale, whose
// product with it is exact: scales are bfloat16. Rounded once, as the multiplication of the float would be.
constexpr float kShift = 12582912.0f;

// Whether no sum over so many dimensions is larger, even of the byte 0 of int8, which no codec writes.
constexpr bool has_small_sums(Format format, uint32_t dim) {
  const uint32_t largest = format == Format::int8 ? 128 : (1u << code_bits(format)) - 1;
  return is_integer(format) && 127u * largest * dim <= 1u << 22;
}

// What scores of a row are made with.
template <Format kFormat, bool kSmall, bool kResidual>
struct RowTerms {
  float scale = 1;
  uint32_t centroid = 0;

  TERCET_DEVICE RowTerms(const Rows& rows, uint32_t row) {
    if constexpr (is_integer(kFormat)) {
      if (rows.scales) scale = bits_as_float(uint32_t{load_constant(rows.scales + row)} << 16);
    }
    if constexpr (kResidual) centroid = load_constant(rows.centroids + row);
  }

  TERCET_DEVICE float score(typename Operands<kFormat>::Sum sum) const {
    if constexpr (!is_integer(kFormat)) {
      return sum;
    } else if constexpr (kSmall) {
      return multiply_add(bits_as_float(static_cast<uint32_t>(sum)), scale, multiply(-kShift, scale));
    } else {
      // Adding +0 makes 0 of the -0 that a negative sum times a scale of 0 is.
      return multiply_add(as_float(sum), scale, 0.0f);
    }
  }
};

// A panel and the loop over it. kResident: there are at most kResidentDims dimensions, the panel stays in
// registers, and sums are small. kResidual: scores of centroids are added.
template <Format kFormat, bool kResident, bool kResidual = false>
class Tile {
 public:
  using Place = Layout<kFormat>;
  using Ops = Operands<kFormat>;
  static_assert(!kResident || has_small_sums(kFormat, Place::kResidentDims));

  TERCET_DEVICE Tile(const Panels& panels, uint32_t dim) : panels_(panels), dim_(dim) {}

  // Chooses a panel.
  TERCET_DEVICE void open(uint32_t panel) {
    panel_.open(panels_.words + static_cast<uint64_t>(panel) * panel_words<kFormat>(dim_));
    first_ = panel * kPanelRows + lane() % 4 * 8;
    if (kResidual) {
      centroid_scores_ = panels_.centroid_scores +
                         static_cast<uint64_t>(panel) * panels_.centroids * kPanelRows + lane() % 4 * 8;
    }
  }
  // What scores of the lane's i-th query row are multiplied with in the end.
  TERCET_DEVICE float query_scale(uint32_t i) const { return panels_.scales[first_ + i]; }

  // Rows [from, to) of those that begin with row `first`. Calls end(row, low, high) for each tile, with the
  // scores of rows row + g and row + g + 8 with the lane's eight query rows; those from `to` on are repeated.
  template <class End>
  TERCET_DEVICE void scan(const Rows& rows, uint32_t first, uint32_t from, uint32_t to, End&& end) const {
    if (from >= to) return;
    synchronise_warp();  // instructions of a warp want all lanes, and callers store by some of them
    using Terms = RowTerms<kFormat, kResident, kResidual>;
    const uint32_t chunks = kResident ? Place::kResidentChunks : Place::chunks(dim_);
    RowReader<kFormat, kResident, kResidual> reader(rows, chunks, first, from, to);
    const auto terms = [&](uint32_t row) { return Terms(rows, first + (row < to - 1 ? row : to - 1)); };
    const uint32_t g = lane() / 4;
    Terms low = terms(from + g), high = terms(from + g + 8);
    TERCET_ROLLED
    for (uint32_t row = from; row < to; row += kTileRows) {
      // What belongs to the rows of this tile has been waited for while the last one was multiplied.
      const Terms next_low = terms(row + g + kTileRows), next_high = terms(row + g + 8 + kTileRows);
      Words<4> added[4];
      if (kResidual) {
        load_centroid(low.centroid, added[0], added[1]);
        load_centroid(high.centroid, added[2], added[3]);
      }
      Sums<typename Ops::Sum> sums;
      Ops::begin(sums, panels_.start + first_);
      if constexpr (kResident) {
        TERCET_UNROLL
        for (uint32_t chunk = 0; chunk < Place::kResidentChunks; ++chunk)
          Ops::add(sums, reader.next(), panel_, chunk);
      } else {
        TERCET_ROLLED
        for (uint32_t chunk = 0; chunk < chunks; ++chunk) Ops::add(sums, reader.next(), panel_, chunk);
      }
      float scores[2][8];
      TERCET_UNROLL
      for (int i = 0; i < 8; ++i) {
        scores[0][i] = low.score(sums[i / 2][i % 2]);
        scores[1][i] = high.score(sums[i / 2][2 + i % 2]);
        if (kResidual) {
          scores[0][i] = add(scores[0][i], bits_as_float(added[i / 4].at[i % 4]));
          scores[1][i] = add(scores[1][i], bits_as_float(added[2 + i / 4].at[i % 4]));
        }
      }
      end(row, scores[0], scores[1]);
      low = next_low;
      high = next_high;
    }
  }

 private:
  TERCET_DEVICE void load_centroid(uint32_t centroid, Words<4>& a, Words<4>& b) const {
    const auto* const scores =
        reinterpret_cast<const Words<4>*>(centroid_scores_ + static_cast<uint64_t>(centroid) * kPanelRows);
    a = load_constant(scores);
    b = load_constant(scores + 1);
  }

  const Panels& panels_;
  uint32_t dim_, first_ = 0;  // of the lane's eight query rows
  const float* centroid_scores_ = nullptr;
  typename Ops::template Panel<kResident> panel_;
};

// The largest of a lane's running maxima over all rows of its tiles, on every lane.
TERCET_DEVICE void reduce(float (&running)[8]) {
  TERCET_UNROLL
  for (int i = 0; i < 8; ++i) {
    TERCET_UNROLL
    for (uint32_t mask = 4; mask < kWarp; mask *= 2)
      running[i] = larger(running[i], shuffle_xor(running[i], mask));
  }
}

constexpr float kLowest = -std::numeric_limits<float>::infinity();

}  // namespace tercet::cuda
