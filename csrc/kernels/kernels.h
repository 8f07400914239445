// The kernels: one table of function pointers per ISA level, chosen once.
//
// One shape serves all. Up to 32 query rows are packed into a panel and sit in SIMD lanes; four bytes of a
// document row (1 float32, 2 bfloat16 or 4 int8 elements, a "group"; smaller codes are unpacked to bytes
// first) are broadcast against them; every lane accumulates the score of its own query row, so results are
// reduced vertically and never across lanes:
//
//   panel:  [group][32 rows][elements of the group]        packed once per query batch, stays in L1
//   rows:   as stored, any stride, streamed once
//   scores: accumulator (row lanes) per document row, in registers
//
// (For a few queries the roles are swapped, rows in lanes and queries broadcast: few-inl.h.)
//
// Each lane adds its products one after another in the order of the dimensions, whatever the vector width:
// float32 results are therefore bit-identical on every level (all use fused multiply-add), int8 ones because
// integers are exact. bfloat16 is exact products accumulated in float32 on every level but AVX512_BF16 and
// AMX, whose instructions round differently in the last place.
//
// Kernels take raw pointers, do not allocate, start threads or fail. Query rows past `rows` are padding.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/types.h"
#include "cpu/isa.h"
#include "kernels/grid.h"

namespace tercet {

constexpr int kPanelRows = 32;
constexpr size_t kGroupBytes = 4;  // bytes of a document row that are broadcast at once

// Groups of a query row in a panel; of packed codes, as many as the codes that fit in a row.
constexpr size_t panel_groups(Format format, uint32_t dim) {
  return (row_bytes(format, dim) * 8 / code_bits(format) + kGroupBytes - 1) / kGroupBytes;
}

struct Panel {
  const uint8_t* values;  // packed by PanelKernels::pack, 64-byte aligned
  // Of integer formats, [32], aligned: minus what the codes as kernels multiply them, which are never
  // negative, add to the score of a row (int8: -128 times its sum); what its integer score is multiplied
  // with.
  const int32_t* start;
  const float* scales;
  int rows;  // 1..32
  // Of residuals: the scores of the centroids, over `scales`, which is what is added to the score of a row
  // before that is multiplied; [centroids][32], aligned. Null for rows that are no residuals.
  const float* centroid_scores = nullptr;
};

// Where fused top-k kernels put what reaches the threshold. Room for one candidate per row and call.
struct CandidateSink {
  Candidate* candidates[kPanelRows];
  uint32_t counts[kPanelRows];
  alignas(64) float thresholds[kPanelRows];  // NaN for padding rows, which no score reaches
};

// best[i * best_stride + r] = max over the tokens of texts[i] of the score of query row r; -inf if none.
using MaxSim = void (*)(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts,
                        float* best, size_t best_stride) noexcept;

// The kernels of one format.
struct PanelKernels {
  const char* name;          // as cpu_info() shows it
  size_t panel_group_bytes;  // bytes of the panel per group

  // Packs `rows` query rows (integer formats: signed bytes, others as stored) into panel and start.
  void (*pack)(const uint8_t* query_rows, size_t stride, int rows, uint32_t dim, uint8_t* panel,
               int32_t* start) noexcept;

  MaxSim maxsim;

  // scores[i * 32 + r] for rows [first, first + count).
  void (*dot)(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* scores) noexcept;

  // Appends {score, row} for every score >= its row's threshold; rows [first, first + count).
  void (*filter)(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                 CandidateSink& sink) noexcept;

  // For rows [first, first + count): where a row scores above best[r], best[r] and row[r] become its score
  // and number, so that of equal scores the lowest row wins, over several calls as well if they go upwards.
  // Both arrays hold 32 values; those of padding rows may change.
  void (*nearest)(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
                  uint32_t* row) noexcept;

  // Runs the multiply-accumulate instruction of this format `rounds` times on independent registers and
  // returns how many multiply-adds that were: timed, this is the instruction peak.
  size_t (*peak)(size_t rounds) noexcept;
};

struct Kernels {
  Isa isa;
  PanelKernels panels[kFormats];  // by Format

  // One pair of rows, for graph search: dimensions in lanes. The sum runs over 32 partial sums (dimension k
  // goes to k % 32), folded in halves: the same order at every level.
  float (*pair_float32)(const float* a, const float* b, size_t dim) noexcept;
  float (*pair_float32_l2)(const float* a, const float* b, size_t dim) noexcept;  // -|a - b|^2
  float (*pair_bfloat16)(const uint16_t* a, const uint16_t* b, size_t dim) noexcept;
  // Without the -128 * (sum of the query) that excess-128 adds: the caller has it, once per query.
  int32_t (*pair_int8)(const int8_t* query, const uint8_t* excess_row, size_t dim) noexcept;

  // sums[i] = pair_int8 of the query with row ids[i]: a node's neighbours in a graph, `stride` bytes apart in
  // `rows`, four of them at a time.
  void (*rows_int8)(const int8_t* query, const uint8_t* rows, size_t stride, const uint32_t* ids,
                    size_t count, size_t dim, int32_t* sums) noexcept;

  // maxsim of product codes, whose scores are sums of rows of a table (product-inl.h). The values of the
  // panel are int16 [kProductParts][kProductEntries][32] and, of residuals, [centroids][32] behind them; no
  // sum of one entry of each leaves 16 bits.
  MaxSim maxsim_product;

  // v <- H v / sqrt(n), the Hadamard transform of n values, a power of two, in place: rounds of sums and
  // differences of partners 1, 2, 4 ... apart, the same bits at every level.
  void (*hadamard)(float* v, uint32_t n) noexcept;

  // Of kGridWidths grids, the one whose codes of x point closest to x (grid.h), x in units of its largest
  // magnitude: dim values and zeros up to whole kGridLanes. The same bits at every level.
  GridFit (*fit_grid)(const float* x, uint32_t dim, int bits) noexcept;

  // Whether every element is finite; integers always are.
  bool (*all_finite)(Format format, const uint8_t* values, size_t count) noexcept;

  // Reads `bytes` of memory with the widest loads; the checksum keeps the loads alive. Timed, this is the
  // read bandwidth.
  uint64_t (*read)(const uint8_t* data, size_t bytes) noexcept;

  MaxSim maxsim(Format format) const {
    return format == Format::product ? maxsim_product : panel(format).maxsim;
  }
  const PanelKernels& panel(Format format) const { return panels[static_cast<int>(format)]; }
};

// The table of the selected level (TERCET_ISA), resolved and checked (selfcheck.h) at first use.
const Kernels& kernels();

// The table of one supported level as it is compiled, for tests and benchmarks.
const Kernels& kernels_for(Isa isa);

}  // namespace tercet
