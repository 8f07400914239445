// The CUDA runtime behind the ABI: devices, memory, streams and events.
#include "cuda/runtime.h"

#include <map>
#include <mutex>

#include "core/error.h"
#include "cuda/abi.h"

namespace tercet::cuda {
namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call would report it once more
  fail(ErrorKind::value, what, ": ", cudaGetErrorString(status));
}

}  // namespace

OnDevice::OnDevice(int32_t device) {
  int current = 0;
  check(cudaGetDevice(&current), "current device");
  if (current == device) return;
  check(cudaSetDevice(device), "device");
  before_ = current;
}

OnDevice::~OnDevice() {
  if (before_ >= 0) cudaSetDevice(before_);
}

uint32_t multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  return static_cast<uint32_t>(count);
}

void check_launches() { check(cudaGetLastError(), "launch"); }

namespace {

// Runs `f` with a device as the current one.
template <class F>
int32_t on_device(int32_t device, F f) {
  return guarded([&] {
    const OnDevice current(device);
    f();
  });
}

Stream stream_of(void* stream) { return static_cast<Stream>(stream); }

// Memory in the order of streams, of a pool of our own: that of the device gives back to the system, whenever
// anybody synchronises, what the next call asks for again.
cudaMemPool_t pool_of(int32_t device) {
  static std::mutex mutex;
  static std::map<int32_t, cudaMemPool_t> pools;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = pools.find(device);
  if (found != pools.end()) return found->second;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool = nullptr;
  check(cudaMemPoolCreate(&pool, &properties), "memory of the device");
  uint64_t kept = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept), "memory of the device");
  return pools[device] = pool;
}

void copy(void* to, const void* from, uint64_t bytes, cudaMemcpyKind kind, void* stream) {
  check(cudaMemcpyAsync(to, from, bytes, kind, stream_of(stream)), "copy");
  check(cudaStreamSynchronize(stream_of(stream)), "copy");
}

}  // namespace
}  // namespace tercet::cuda

using namespace tercet::cuda;

int32_t tercet_cuda_devices(int32_t* count) {
  return guarded([&] {
    int found = 0;
    check(cudaGetDeviceCount(&found), "devices");
    *count = found;
  });
}

int32_t tercet_cuda_allocate(int32_t device, uint64_t bytes, void** memory) {
  return on_device(device, [&] { check(cudaMalloc(memory, bytes), "memory of the device"); });
}

int32_t tercet_cuda_free(int32_t device, void* memory) {
  return on_device(device, [&] { check(cudaFree(memory), "memory of the device"); });
}

int32_t tercet_cuda_allocate_on(int32_t device, uint64_t bytes, void* stream, void** memory) {
  return on_device(device, [&] {
    check(cudaMallocFromPoolAsync(memory, bytes, pool_of(device), stream_of(stream)), "memory of the device");
  });
}

int32_t tercet_cuda_free_on(int32_t device, void* memory, void* stream) {
  return on_device(device, [&] { check(cudaFreeAsync(memory, stream_of(stream)), "memory of the device"); });
}

int32_t tercet_cuda_upload(int32_t device, void* to, const void* from, uint64_t bytes, void* stream) {
  return on_device(device, [&] { copy(to, from, bytes, cudaMemcpyHostToDevice, stream); });
}

int32_t tercet_cuda_download(int32_t device, void* to, const void* from, uint64_t bytes, void* stream) {
  return on_device(device, [&] { copy(to, from, bytes, cudaMemcpyDeviceToHost, stream); });
}

int32_t tercet_cuda_is_capturing(void* stream, int32_t* capturing) {
  return guarded([&] {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_of(stream), &status), "stream");
    *capturing = status != cudaStreamCaptureStatusNone;
  });
}

int32_t tercet_cuda_order(int32_t device, void* stream, void* waiting) {
  return on_device(device, [&] {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    cudaError_t status = cudaEventRecord(event, stream_of(stream));
    if (status == cudaSuccess) status = cudaStreamWaitEvent(stream_of(waiting), event, 0);
    cudaEventDestroy(event);  // lives on until it has happened
    check(status, "event");
  });
}

int32_t tercet_cuda_record(int32_t device, void* stream, void** event) {
  return on_device(device, [&] {
    cudaEvent_t made = nullptr;
    check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "event");
    const cudaError_t status = cudaEventRecord(made, stream_of(stream));
    if (status != cudaSuccess) cudaEventDestroy(made);
    check(status, "event");
    *event = made;
  });
}

int32_t tercet_cuda_has_happened(int32_t device, void* event, int32_t* happened) {
  return on_device(device, [&] {
    const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(event));
    if (status != cudaErrorNotReady) check(status, "event");
    *happened = status == cudaSuccess;
    cudaGetLastError();  // "not ready" is an answer, no error
  });
}

int32_t tercet_cuda_forget(int32_t device, void* event) {
  return on_device(device, [&] { check(cudaEventDestroy(static_cast<cudaEvent_t>(event)), "event"); });
}
