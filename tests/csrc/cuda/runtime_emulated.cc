// The CUDA runtime's part of the ABI without a device: memory is the processor's, streams do their work at
// once.
#include <cstdlib>
#include <cstring>

#include "emulator.h"

#include "cuda/abi.h"
#include "cuda/runtime.h"

namespace tercet::cuda {

OnDevice::OnDevice(int32_t device) { require(device == 0, "device: ", device, " is none"); }
OnDevice::~OnDevice() = default;
uint32_t multiprocessors() { return 1; }
void check_launches() {}

}  // namespace tercet::cuda

using tercet::cuda::guarded;

int32_t tercet_cuda_devices(int32_t* count) {
  *count = 1;
  return 0;
}

int32_t tercet_cuda_capability(int32_t, int32_t* major, int32_t* minor) {
  *major = 8;
  *minor = 0;
  return 0;
}

int32_t tercet_cuda_device_of(const void*, int32_t* device) {
  *device = 0;
  return 0;
}

int32_t tercet_cuda_synchronise(int32_t) { return 0; }

int32_t tercet_cuda_trim(int32_t) { return 0; }

int32_t tercet_cuda_allocate(int32_t, uint64_t bytes, void** memory) {
  return guarded([&] {
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*memory) throw std::bad_alloc();
    std::memset(*memory, 0xa5, bytes);  // nobody may count on zeros
  });
}

int32_t tercet_cuda_free(int32_t, void* memory) {
  std::free(memory);
  return 0;
}

int32_t tercet_cuda_allocate_on(int32_t device, uint64_t bytes, void*, void** memory) {
  return tercet_cuda_allocate(device, bytes, memory);
}

int32_t tercet_cuda_free_on(int32_t device, void* memory, void*) { return tercet_cuda_free(device, memory); }

int32_t tercet_cuda_upload(int32_t, void* to, const void* from, uint64_t bytes, void*) {
  if (bytes) std::memcpy(to, from, bytes);
  return 0;
}

int32_t tercet_cuda_download(int32_t, void* to, const void* from, uint64_t bytes, void*) {
  if (bytes) std::memcpy(to, from, bytes);
  return 0;
}

// The stream 0xca is being captured.
int32_t tercet_cuda_is_capturing(int32_t, void* stream, int32_t* capturing) {
  *capturing = reinterpret_cast<uintptr_t>(stream) == 0xca;
  return 0;
}

int32_t tercet_cuda_order(int32_t, void*, void*) { return 0; }

int32_t tercet_cuda_record(int32_t, void*, void** event) {
  *event = nullptr;
  return 0;
}

int32_t tercet_cuda_has_happened(int32_t, void*, int32_t* happened) {
  *happened = 1;
  return 0;
}

int32_t tercet_cuda_forget(int32_t, void*) { return 0; }
