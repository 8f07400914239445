// What the host side asks of the CUDA runtime, and how calls of the ABI fail.
#pragma once
#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>

#include "core/error.h"
#include "cuda/warp.cuh"

namespace tercet::cuda {

// Makes a device the current one of this thread for a while. What is put back is the context that was there,
// if any: to make the device before current again would make a context on it where nobody has asked for one.
class OnDevice {
 public:
  explicit OnDevice(int32_t device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  void* before_ = nullptr;
};

// Of the current device.
uint32_t multiprocessors();
// Throws Error if one of the launches since the last call failed.
void check_launches();

// What tercet_cuda_error() says in this thread.
void set_error(const char* message) noexcept;

// Memory of a device, of which there is not enough.
struct OutOfMemory : std::bad_alloc {
  const char* what() const noexcept override { return "memory of the device: out of memory"; }
};

// Runs `f`; 0, or the message of what it threw and 1, or 2 where that was want of memory.
template <class F>
int32_t guarded(F f) noexcept {
  try {
    f();
    return 0;
  } catch (const std::bad_alloc& e) {
    set_error(e.what());
    return 2;
  } catch (const std::exception& e) {
    set_error(e.what());
    return 1;
  }
}

// What calls ask for at most, unless one query takes more: queries are answered in groups.
constexpr uint64_t kWorkspaceBytes = uint64_t{256} << 20;

// Memory that a caller has given, piece by piece. Without memory it only counts.
class Workspace {
 public:
  Workspace(void* memory, uint64_t bytes) : memory_(static_cast<uint8_t*>(memory)), bytes_(bytes) {}

  template <class T>
  T* take(uint64_t count) {
    constexpr uint64_t kAlignment = 256;
    const uint64_t at = used_;
    used_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    if (!memory_) return nullptr;
    require(used_ <= bytes_, "workspace: expected ", used_, " bytes or more, got ", bytes_);
    return reinterpret_cast<T*>(memory_ + at);
  }
  bool counts() const { return !memory_; }
  uint64_t left() const { return counts() ? kWorkspaceBytes : bytes_ - used_; }
  uint64_t used() const { return used_; }

 private:
  uint8_t* memory_;
  uint64_t bytes_, used_ = 0;
};

// How many of `all` may be answered at once within `bytes`: the most that `used(n)` has room for, or one.
// Pieces are rounded up, so what one takes does not tell what n take.
template <class F>
uint32_t largest_group(uint32_t all, uint64_t bytes, F used) {
  constexpr uint64_t kLeast = 256;  // of one; with no more than this no product of sizes overflows
  uint32_t most = static_cast<uint32_t>(std::clamp<uint64_t>(bytes / kLeast, 1, all));
  if (used(most) <= bytes) return most;
  uint32_t fits = 1;
  while (most - fits > 1) {
    const uint32_t n = fits + (most - fits) / 2;
    (used(n) <= bytes ? fits : most) = n;
  }
  return fits;
}

}  // namespace tercet::cuda
