#include "cuda/maxsim.cuh"

#include "cuda/formats.h"
#include "cuda/launches.h"

namespace tercet::cuda {
namespace {

using Kernel = void (*)(MaxSimArguments);

template <Format kFormat>
Kernel kernel_for(bool resident, bool residual) {
  if constexpr (!is_integer(kFormat)) {
    return maxsim_kernel<kFormat, false, false>;
  } else {
    if constexpr (kFormat == Format::int2 || kFormat == Format::int1) {  // what residuals are stored in
      if (residual)
        return resident ? maxsim_kernel<kFormat, true, true> : maxsim_kernel<kFormat, false, true>;
    }
    return resident ? maxsim_kernel<kFormat, true, false> : maxsim_kernel<kFormat, false, false>;
  }
}

}  // namespace

void maxsim(Format format, const MaxSimArguments& arguments, uint32_t multiprocessors, Stream stream) {
  const uint64_t groups = (uint64_t{arguments.items} + kMaxSimWarps - 1) / kMaxSimWarps;
  const uint32_t queries = arguments.queries.count;
  if (groups == 0 || queries == 0) return;
  with_format(format, [&](auto f) {
    const Kernel kernel = kernel_for<f()>(arguments.dim <= Layout<f()>::kResidentDims,
                                          arguments.panels.centroid_scores != nullptr);
    launch(kernel, queries, blocks_for(groups, queries, multiprocessors), kMaxSimWarps * kWarp, kMaxSimShared,
           stream, arguments);
  });
}

}  // namespace tercet::cuda
