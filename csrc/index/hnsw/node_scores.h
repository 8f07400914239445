// Scores of single nodes: a query or another node against rows that lie anywhere, of int8 codes or of
// float32.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "core/bfloat16.h"
#include "core/types.h"
#include "kernels/kernels.h"

namespace tercet {

// A query in the arithmetic of the rows: of int8, signed codes, else float32.
struct NodeQuery {
  const void* values;
  int32_t start = 0;  // -128 times the sum of codes: rows are excess-128
  float scale = 1;
};

class NodeScores {
 public:
  // Rows of int8, with scales and, for distances, a bias; or of float32 or float32_l2.
  explicit NodeScores(const RowsView& rows)
      : rows_(rows),
        row_bytes_(row_bytes(rows.format, rows.dim)),
        rows_int8_(kernels().rows_int8),
        pair_(rows.format == Format::int8         ? nullptr
              : rows.format == Format::float32_l2 ? kernels().pair_float32_l2
                                                  : kernels().pair_float32) {}

  const RowsView& rows() const { return rows_; }
  size_t bytes_of_row() const { return row_bytes_; }

  static constexpr size_t kMost = 256;  // nodes at once

  // out[i] = the score of node ids[i], of codes the same as panel kernels give.
  void operator()(const NodeQuery& query, const uint32_t* ids, size_t count, float* out) const {
    if (pair_) {
      const auto* const values = static_cast<const float*>(query.values);
      for (size_t i = 0; i < count; ++i) {
        out[i] = pair_(values, reinterpret_cast<const float*>(rows_.row(ids[i])), rows_.dim);
      }
      return;
    }
    int32_t sums[kMost];
    rows_int8_(static_cast<const int8_t*>(query.values), rows_.data, rows_.stride, ids, count, rows_.dim,
               sums);
    // Two loops: the second is one that compilers make vectors of.
    float scales[kMost];
    for (size_t i = 0; i < count; ++i) scales[i] = bfloat16_to_float(rows_.scales[ids[i]]);
    const int32_t start = query.start;
    const float scale = query.scale;
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<float>(sums[i] + start) * scales[i] * scale;
    for (size_t i = 0; rows_.bias && i < count; ++i) out[i] += rows_.bias[ids[i]];
  }

  void prefetch(uint32_t node) const {
    const uint8_t* const row = rows_.row(node);
    for (size_t k = 0; k < row_bytes_; k += kCacheLine) prefetch_line(row + k);
  }

  // A node as a query; `factor`, of distances by codes, is 2. `space` has room for a row.
  NodeQuery query_of(uint32_t node, float factor, uint8_t* space) const {
    const uint8_t* const row = rows_.row(node);
    if (pair_) return {row};
    int32_t sum = 0;
    for (uint32_t k = 0; k < rows_.dim; ++k) {
      space[k] = row[k] ^ 0x80;
      sum += static_cast<int8_t>(space[k]);
    }
    return {space, -128 * sum, factor * bfloat16_to_float(rows_.scales[node])};
  }

 private:
  RowsView rows_;
  size_t row_bytes_;
  decltype(Kernels::rows_int8) rows_int8_;
  decltype(Kernels::pair_float32) pair_;  // null: of codes
};

}  // namespace tercet
