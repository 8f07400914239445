// Scores of single nodes: a query or another node against int8 rows that lie anywhere.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "core/bfloat16.h"
#include "core/types.h"
#include "kernels/kernels.h"

namespace tercet {

// A query in the arithmetic of int8 rows; `codes` are signed.
struct Int8Query {
  const int8_t* codes;
  int32_t start;  // -128 times their sum: rows are excess-128
  float scale;
};

class NodeScores {
 public:
  // Rows of int8, with scales and, for distances, a bias.
  explicit NodeScores(const RowsView& rows) : rows_(rows), kernel_(kernels().rows_int8) {}

  const RowsView& rows() const { return rows_; }

  static constexpr size_t kMost = 256;  // nodes at once

  // out[i] = the score of node ids[i], the same as panel kernels give.
  void operator()(const Int8Query& query, const uint32_t* ids, size_t count, float* out) const {
    int32_t sums[kMost];
    kernel_(query.codes, rows_.data, rows_.stride, ids, count, rows_.dim, sums);
    for (size_t i = 0; i < count; ++i) {
      out[i] =
          static_cast<float>(sums[i] + query.start) * bfloat16_to_float(rows_.scales[ids[i]]) * query.scale;
    }
    for (size_t i = 0; rows_.bias && i < count; ++i) out[i] += rows_.bias[ids[i]];
  }

  void prefetch(uint32_t node) const {
    const uint8_t* const row = rows_.row(node);
    for (size_t k = 0; k < rows_.dim; k += kCacheLine) prefetch_line(row + k);
  }

  // A node as a query; `factor`, of distances, is 2. `codes` has room for dim of them.
  Int8Query query_of(uint32_t node, float factor, int8_t* codes) const {
    const uint8_t* const row = rows_.row(node);
    int32_t sum = 0;
    for (uint32_t k = 0; k < rows_.dim; ++k) {
      codes[k] = static_cast<int8_t>(row[k] ^ 0x80);
      sum += codes[k];
    }
    return {codes, -128 * sum, factor * bfloat16_to_float(rows_.scales[node])};
  }

 private:
  RowsView rows_;
  decltype(Kernels::rows_int8) kernel_;
};

}  // namespace tercet
