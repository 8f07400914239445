// What is compared: documents as ranges of token rows, and the tokens of queries.
#pragma once
#include "cuda/fragments.cuh"
#include "cuda/warp.cuh"

namespace tercet::cuda {

// Rows are fewer than 2^32 (checks.h).
struct Span {
  uint32_t begin;
  uint32_t count;
};

// Document i has the rows from begins[i] to ends[i], or, where these are null, the first lengths[i] of the
// `each` from i * each; all of them where that is null too. These arrays may come from a caller, on whose
// word no memory is read: ranges are cut to the rows that there are.
struct Documents {
  const int64_t* begins;
  const int64_t* ends;
  const uint32_t* lengths;
  uint64_t rows;
  uint32_t count;
  uint32_t each;

  // Nothing of a number that is none.
  TERCET_DEVICE Span span(int64_t document) const {
    if (document < 0 || document >= count) return {0, 0};
    uint64_t begin, end;
    if (begins) {
      begin = static_cast<uint64_t>(begins[document]);
      end = static_cast<uint64_t>(ends[document]);
    } else {
      const uint32_t length = lengths && lengths[document] < each ? lengths[document] : each;
      begin = static_cast<uint64_t>(document) * each;
      end = begin + length;
    }
    end = end < rows ? end : rows;
    if (begin >= end) return {0, 0};
    return {static_cast<uint32_t>(begin), static_cast<uint32_t>(end - begin)};
  }
};

// Queries [count][tokens], of which the first lengths[i] tokens count, or all where that is null. Each begins
// with a panel of its own.
struct QueryTokens {
  const uint32_t* lengths;
  uint32_t count;
  uint32_t tokens;

  constexpr uint32_t panels() const { return (tokens + kPanelRows - 1) / kPanelRows; }
  TERCET_DEVICE uint32_t tokens_of(uint32_t query) const {
    return lengths && lengths[query] < tokens ? lengths[query] : tokens;
  }
  TERCET_DEVICE uint32_t panels_of(uint32_t query) const {
    return (tokens_of(query) + kPanelRows - 1) / kPanelRows;
  }
};

}  // namespace tercet::cuda
