#include "cuda/bins.cuh"

#include "cuda/formats.h"
#include "cuda/launches.h"

namespace tercet::cuda {

void score_bins(Format format, const BinArguments& arguments, uint32_t multiprocessors, Stream stream) {
  const uint32_t panels = (arguments.queries + kPanelRows - 1) / kPanelRows;
  const uint64_t groups = (uint64_t{arguments.bins} + kBinWarps - 1) / kBinWarps;
  if (groups == 0 || panels == 0) return;
  with_format(format, [&](auto f) {
    constexpr uint32_t kResidentDims = Layout<f()>::kResidentDims;
    const auto kernel =
        arguments.dim <= kResidentDims ? bins_kernel<f(), (kResidentDims > 0)> : bins_kernel<f(), false>;
    launch(kernel, panels, blocks_for(groups, panels, multiprocessors), kBinWarps * kWarp, 0, stream,
           arguments);
  });
}

void score_rows(Format format, const RowScoreArguments& arguments, uint32_t queries, Stream stream) {
  const uint32_t groups = (arguments.chosen + kBinWarps - 1) / kBinWarps;
  if (groups == 0 || queries == 0) return;
  with_format(format, [&](auto f) {
    constexpr uint32_t kResidentDims = Layout<f()>::kResidentDims;
    const auto kernel = arguments.dim <= kResidentDims ? row_scores_kernel<f(), (kResidentDims > 0)>
                                                       : row_scores_kernel<f(), false>;
    launch(kernel, queries, groups, kBinWarps * kWarp, 0, stream, arguments);
  });
}

}  // namespace tercet::cuda
