// The best k of many scores, and candidates in order: what select.cu is asked for.
#pragma once
#include <cstdint>

namespace tercet::cuda {

// Limits of one block's memory.
constexpr uint32_t kMaxSelected = 2048;
constexpr uint32_t kMaxCandidates = 4096;  // of a query

struct ChooseBinsArguments {
  const float* best;  // [queries][bins]
  uint32_t bins;
  uint32_t chosen;    // at most bins
  uint32_t* numbers;  // [queries][chosen], ascending
};

struct RankArguments {
  const float* scores;  // [queries][n]
  uint64_t n;
  uint32_t k;
  // The number of what position p of a query is the score of: candidates[query][p]; or, of bins, row
  // p % bin of bin numbers[query][p / bin]; or p.
  const int64_t* candidates;
  const uint32_t* numbers;
  uint32_t bin;
  uint64_t count;      // of what there is; numbers from there on are none
  const int64_t* ids;  // of numbers; null: themselves
  int64_t* best_ids;   // [queries][k]; -1 where there is none
  float* best_scores;  // [queries][k]; -inf where there is none
};

struct CandidateArguments {
  const int64_t* given;  // [queries][each], ids, or -1
  uint32_t each;
  const int64_t* ids;  // of documents, ascending
  uint32_t count;      // of documents
  int64_t* numbers;    // [queries][each]: those of documents, each once, ascending; then -1
};

}  // namespace tercet::cuda
