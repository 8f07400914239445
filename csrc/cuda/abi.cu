// The parts of the ABI that are neither searches nor the runtime's.
#include "cuda/abi.h"

#include <string>

#include "cuda/checks.h"
#include "cuda/runtime.h"

namespace tercet::cuda {
namespace {

thread_local std::string last_error;

}  // namespace

void set_error(const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();
  }
}

}  // namespace tercet::cuda

using namespace tercet::cuda;

int32_t tercet_cuda_abi(void) { return TERCET_CUDA_ABI; }

const char* tercet_cuda_error(void) { return last_error.c_str(); }

uint32_t tercet_cuda_stride(uint32_t format, uint32_t dim) {
  return format <= static_cast<uint32_t>(tercet::Format::int1)
             ? stride_of(static_cast<tercet::Format>(format), dim)
             : 0;
}

void tercet_cuda_limits(uint32_t* k, uint32_t* candidates, uint32_t* dim) {
  *k = kMaxSelected;
  *candidates = kMaxCandidates;
  *dim = kMaxDim;
}

int32_t tercet_cuda_place_rows(const void* from, void* to, uint64_t count, uint32_t format, uint32_t dim,
                               int32_t device, void* stream) {
  return guarded([&] {
    const tercet::Format checked = checked_format(format);
    check_dim(dim);
    const OnDevice current(device);
    const auto bytes = static_cast<uint32_t>(tercet::row_bytes(checked, dim));
    const uint8_t flip = checked == tercet::Format::int8 ? 0x80 : 0;
    place_rows({static_cast<const uint8_t*>(from), static_cast<uint8_t*>(to), count, bytes,
                stride_of(checked, dim), flip},
               static_cast<Stream>(stream));
    check_launches();
  });
}
