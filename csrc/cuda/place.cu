#include "cuda/place.h"

#include "cuda/launches.h"
#include "cuda/warp.cuh"

namespace tercet::cuda {
namespace {

constexpr uint32_t kPlaceThreads = 256;

TERCET_KERNEL(kPlaceThreads, 4)
place_kernel(PlaceArguments a) {
  const uint64_t all = a.rows * a.stride, step = uint64_t{blocks_y()} * kPlaceThreads;
  for (uint64_t i = uint64_t{block_y()} * kPlaceThreads + thread(); i < all; i += step) {
    const uint64_t row = i / a.stride, byte = i % a.stride;
    a.to[i] =
        byte < a.row_bytes ? static_cast<uint8_t>(a.from[row * a.row_bytes + byte] ^ a.flip) : uint8_t{0};
  }
}

}  // namespace

void place_rows(const PlaceArguments& arguments, Stream stream) {
  const uint64_t blocks = (arguments.rows * arguments.stride + kPlaceThreads - 1) / kPlaceThreads;
  const auto some = static_cast<uint32_t>(blocks < 65535 ? blocks : 65535);
  if (some) launch(place_kernel, 1, some, kPlaceThreads, 0, stream, arguments);
}

}  // namespace tercet::cuda
