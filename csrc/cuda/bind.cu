#include "cuda/formats.h"
#include "cuda/launches.h"

namespace tercet::cuda {

void bind(Format format, const BindArguments& arguments, uint32_t panels, Stream stream) {
  with_format(format, [&](auto f) {
    launch(bind_kernel<f()>, panels, kPanelRows, kBindThreads, bind_shared(arguments.dim), stream, arguments);
  });
}

uint32_t words_of_panel(Format format, uint32_t dim) {
  uint32_t words = 0;
  with_format(format, [&](auto f) { words = panel_words<f()>(dim); });
  return words;
}

void centroid_scores(const CentroidScoreArguments& arguments, uint32_t panels, uint32_t multiprocessors,
                     Stream stream) {
  const auto kernel = arguments.dim <= Layout<Format::int8>::kResidentDims ? centroid_scores_kernel<true>
                                                                           : centroid_scores_kernel<false>;
  const uint64_t groups = (uint64_t{arguments.count} + kBinWarps * kTileRows - 1) / (kBinWarps * kTileRows);
  launch(kernel, panels, blocks_for(groups, panels, multiprocessors), kBinWarps * kWarp, 0, stream,
         arguments);
}

}  // namespace tercet::cuda
