// The best k rows of single vectors, without a matrix of scores. Rows are cut into bins of neighbours, and a
// first pass keeps of each query and bin only the largest score: what MaxSim keeps of a document's tokens.
// The best k rows then lie in the k best bins, in the order of (score descending, number ascending):
//
//   Let row x of bin b be among the best k, and b not among the k best bins. Each of those has a row with the
//   bin's score m, and m is above that of b, hence above that of x; or equal to it, and the bin is before b:
//   then m is at least the score of x, and the row has a lower number. Either way the row is before x, and so
//   are k rows: x is not among the best k.
//
// So exactly k bins are scored once more, row by row, and the best k are chosen from those: for every input,
// ties included. With n rows in bins of w the matrix would take 4 n bytes a query, where this takes 4 n / w +
// 4 k w; the second pass multiplies k w rows, for a panel of which one query counts: as much as 32 k w / n of
// the first.
#pragma once
#include "cuda/tile.cuh"

namespace tercet::cuda {

constexpr uint32_t kBinWarps = 8;

// Bins for the best k of n: as wide as costs the least memory, of 2^m tiles.
constexpr uint32_t bin_rows(uint64_t n, uint32_t k) {
  uint32_t rows = kTileRows;
  while (rows < 1024 && uint64_t{4} * rows * rows * k <= n) rows *= 2;
  return rows;
}

struct BinArguments {
  Rows rows;
  Panels panels;
  uint32_t count;  // of rows
  uint32_t dim;
  uint32_t bin;  // rows of one
  uint32_t bins;
  uint32_t queries;
  float* best;  // [queries][bins]
};

// Grid: panels, by groups of kBinWarps bins.
template <Format kFormat, bool kResident>
TERCET_KERNEL(kBinWarps* kWarp, 2)
bins_kernel(BinArguments a) {
  Tile<kFormat, kResident> tile(a.panels, a.dim);
  tile.open(block_x());
  for (uint32_t bin = block_y() * kBinWarps + warp(); bin < a.bins; bin += blocks_y() * kBinWarps) {
    const uint32_t first = bin * a.bin, left = a.count - first;
    float best[8];
    TERCET_UNROLL
    for (float& x : best) x = kLowest;
    tile.scan(a.rows, first, 0, left < a.bin ? left : a.bin,
              [&](uint32_t, const float (&low)[8], const float (&high)[8]) {
                TERCET_UNROLL
                for (int i = 0; i < 8; ++i) best[i] = larger(best[i], larger(low[i], high[i]));
              });
    reduce(best);
    TERCET_UNROLL
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t query = block_x() * kPanelRows + query_row(lane() % 4, i);
      // Rounding keeps the order, so that this is the largest of the products as well.
      if (lane() < 4 && query < a.queries)
        a.best[query * uint64_t{a.bins} + bin] = multiply(best[i], tile.query_scale(i));
    }
  }
}

struct RowScoreArguments {
  Rows rows;
  Panels panels;
  uint32_t count;  // of rows
  uint32_t dim;
  uint32_t bin;
  uint32_t chosen;          // bins of each query
  const uint32_t* numbers;  // [queries][chosen], which they are
  float* scores;            // [queries][chosen][bin]; -inf where there are no rows
};

// Scores of all rows of the chosen bins. Grid: queries, by groups of kBinWarps bins.
template <Format kFormat, bool kResident>
TERCET_KERNEL(kBinWarps* kWarp, 2)
row_scores_kernel(RowScoreArguments a) {
  const uint32_t query = block_x(), wanted = query % kPanelRows;
  Tile<kFormat, kResident> tile(a.panels, a.dim);
  tile.open(query / kPanelRows);
  const bool mine = lane() % 4 == wanted % 8 / 2;
  for (uint32_t slot = block_y() * kBinWarps + warp(); slot < a.chosen; slot += blocks_y() * kBinWarps) {
    const uint64_t at = query * uint64_t{a.chosen} + slot;
    const uint32_t first = a.numbers[at] * a.bin, rows = a.count - first < a.bin ? a.count - first : a.bin;
    float* const scores = a.scores + at * a.bin;
    tile.scan(a.rows, first, 0, rows, [&](uint32_t row, const float (&low)[8], const float (&high)[8]) {
      float pair[2] = {0, 0}, scale = 0;
      TERCET_UNROLL
      for (uint32_t i = 0; i < 8; ++i) {  // an index known only now would put the arrays into memory
        if (query_row(lane() % 4, i) == wanted)
          pair[0] = low[i], pair[1] = high[i], scale = tile.query_scale(i);
      }
      const uint32_t g = lane() / 4;
      if (mine && row + g < rows) scores[row + g] = multiply(pair[0], scale);
      if (mine && row + g + 8 < rows) scores[row + g + 8] = multiply(pair[1], scale);
    });
    for (uint32_t row = rows + lane(); row < a.bin; row += kWarp) scores[row] = kLowest;
  }
}

struct CentroidScoreArguments {
  Rows rows;            // the centroids
  Panels panels;        // the queries, bound for them
  const float* scales;  // of the same queries, bound for residuals
  uint32_t dim;
  uint32_t count;
  float* scores;  // [panels][count][32], by column(), over `scales`
};

// What is added to scores of residuals before they are multiplied with the scale of the query row: the score
// of the centroid over this scale, as csrc/codec/packed_queries.cc does it. Grid: panels, by tiles of
// centroids.
template <bool kResident>
TERCET_KERNEL(kBinWarps* kWarp, 2)
centroid_scores_kernel(CentroidScoreArguments a) {
  Tile<Format::int8, kResident> tile(a.panels, a.dim);
  tile.open(block_x());
  const uint32_t t = lane() % 4;
  const float* const scales = a.scales + block_x() * kPanelRows + t * 8;
  float* const table = a.scores + uint64_t{block_x()} * a.count * kPanelRows;
  const uint32_t step = blocks_y() * kBinWarps * kTileRows;
  for (uint32_t from = (block_y() * kBinWarps + warp()) * kTileRows; from < a.count; from += step) {
    const uint32_t to = a.count - from < kTileRows ? a.count : from + kTileRows;
    tile.scan(a.rows, 0, from, to, [&](uint32_t row, const float (&low)[8], const float (&high)[8]) {
      TERCET_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t centroid = row + lane() / 4 + 8 * half;
        if (centroid >= to) continue;
        TERCET_UNROLL
        for (uint32_t i = 0; i < 8; ++i) {
          const float scale = scales[i], score = multiply(half ? high[i] : low[i], tile.query_scale(i));
          // The inverse of a scale among the smallest floats is infinite.
          const float over = scale < 0x1p-100f ? divide(score, scale) : multiply(score, divide(1, scale));
          table[uint64_t{centroid} * kPanelRows + t * 8 + i] = scale > 0 ? over : 0;
        }
      }
    });
  }
}

}  // namespace tercet::cuda
