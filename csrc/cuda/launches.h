// Runs kernels: one function each, which finds the instance for a format and chooses the grid.
#pragma once
#include "cuda/bind.cuh"
#include "cuda/bins.cuh"
#include "cuda/maxsim.cuh"
#include "cuda/place.h"
#include "cuda/select.h"

namespace tercet::cuda {

void bind(Format format, const BindArguments& arguments, uint32_t panels, Stream stream);
void centroid_scores(const CentroidScoreArguments& arguments, uint32_t panels, uint32_t multiprocessors,
                     Stream stream);
void maxsim(Format format, const MaxSimArguments& arguments, uint32_t multiprocessors, Stream stream);
void score_bins(Format format, const BinArguments& arguments, uint32_t multiprocessors, Stream stream);
void choose_bins(const ChooseBinsArguments& arguments, uint32_t queries, Stream stream);
void score_rows(Format format, const RowScoreArguments& arguments, uint32_t queries, Stream stream);
void rank(const RankArguments& arguments, uint32_t queries, Stream stream);
void order_candidates(const CandidateArguments& arguments, uint32_t queries, Stream stream);
void place_rows(const PlaceArguments& arguments, Stream stream);

// 32-bit words of a panel of a format.
uint32_t words_of_panel(Format format, uint32_t dim);

// Blocks of y for `groups` of work beside `blocks_x` that all have them: several rounds of what runs at once,
// so that blocks with longer documents do not end the work alone.
inline uint32_t blocks_for(uint64_t groups, uint32_t blocks_x, uint32_t multiprocessors) {
  constexpr uint64_t kBlocksEach = 2, kRounds = 8;
  const uint64_t wanted = (multiprocessors * kBlocksEach * kRounds + blocks_x - 1) / blocks_x;
  const uint64_t most = groups < 65535 ? groups : 65535;  // of y
  return static_cast<uint32_t>(wanted < most ? wanted : most);
}

}  // namespace tercet::cuda
