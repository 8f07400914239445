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
  if (status == cudaErrorMemoryAllocation) throw OutOfMemory();
  fail(ErrorKind::value, what, ": ", cudaGetErrorString(status));
}

}  // namespace

namespace {

// A function of the driver, which the runtime has loaded: nothing links it. Null: there is none.
template <class F>
F driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  constexpr unsigned kSince = 4000;
  if (cudaGetDriverEntryPointByVersion(name, &found, kSince, cudaEnableDefault, &result) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  return result == cudaDriverEntryPointSuccess ? reinterpret_cast<F>(found) : nullptr;
}

struct Contexts {
  int (*get)(void**) = driver_function<int (*)(void**)>("cuCtxGetCurrent");
  int (*set)(void*) = driver_function<int (*)(void*)>("cuCtxSetCurrent");
};

const Contexts& contexts() {
  static const Contexts found;
  return found;
}

}  // namespace

OnDevice::OnDevice(int32_t device) {
  if (contexts().get && contexts().get(&before_) != 0) before_ = nullptr;
  check(cudaSetDevice(device), "device");
}

OnDevice::~OnDevice() {
  if (contexts().set) contexts().set(before_);
}

uint32_t multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "current device");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  return static_cast<uint32_t>(count);
}

void check_launches() { check(cudaGetLastError(), "launch"); }

namespace {

// While a graph is captured somewhere in the process, this thread may make calls that are no part of it and
// might wait for it: they would end the capture otherwise, and nothing here waits for a stream that is
// captured.
class BesideCaptures {
 public:
  BesideCaptures() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~BesideCaptures() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// Runs `f` with a device as the current one.
template <class F>
int32_t on_device(int32_t device, F f) {
  return guarded([&] {
    const OnDevice current(device);
    const BesideCaptures allowed;
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
    const cudaError_t status = cudaGetDeviceCount(&found);
    if (status == cudaErrorInsufficientDriver) {  // what the runtime says of no driver as well
      cudaGetLastError();
      tercet::fail(tercet::ErrorKind::value, "no CUDA driver, or one older than CUDA ", CUDART_VERSION / 1000,
                   ".", CUDART_VERSION % 1000 / 10, " needs");
    }
    if (status != cudaErrorNoDevice) check(status, "devices");
    cudaGetLastError();
    *count = found;
  });
}

int32_t tercet_cuda_capability(int32_t device, int32_t* major, int32_t* minor) {
  return guarded([&] {
    check(cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor, device), "device");
    check(cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor, device), "device");
  });
}

int32_t tercet_cuda_device_of(const void* memory, int32_t* device) {
  return guarded([&] {
    cudaPointerAttributes found{};
    check(cudaPointerGetAttributes(&found, memory), "memory");
    const bool theirs = found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
    *device = theirs ? found.device : -1;
  });
}

int32_t tercet_cuda_synchronise(int32_t device) {
  return on_device(device, [&] { check(cudaDeviceSynchronize(), "device"); });
}

int32_t tercet_cuda_trim(int32_t device) {
  return on_device(device, [&] { check(cudaMemPoolTrimTo(pool_of(device), 0), "memory of the device"); });
}

int32_t tercet_cuda_allocate(int32_t device, uint64_t bytes, void** memory) {
  return on_device(device, [&] { check(cudaMalloc(memory, bytes), "memory of the device"); });
}

int32_t tercet_cuda_free(int32_t device, void* memory) {
  return on_device(device, [&] {
    check(cudaDeviceSynchronize(), "device");  // cudaFree may do without
    check(cudaFree(memory), "memory of the device");
  });
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

int32_t tercet_cuda_is_capturing(int32_t device, void* stream, int32_t* capturing) {
  return on_device(device, [&] {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    const cudaError_t asked = cudaStreamIsCapturing(stream_of(stream), &status);
    if (asked != cudaErrorStreamCaptureImplicit) check(asked, "stream");
    cudaGetLastError();
    *capturing = asked != cudaSuccess || status != cudaStreamCaptureStatusNone;
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
