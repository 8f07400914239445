// Vectors whose storage starts on a cache line and whose new elements are left uninitialised: they hold codes
// that are written right after, and zeroing gigabytes first would cost a pass over memory.
#pragma once
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace tercet {

constexpr size_t kCacheLine = 64;

inline void prefetch_line([[maybe_unused]] const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // or gcc 12 drops all but the first of a loop
#endif
}

// Memory that starts on a cache line; large blocks on huge pages where the system lends them, since a scan
// that follows a few rows at a time misses the TLB for every one of them otherwise. Throws std::bad_alloc.
void* allocate_aligned(size_t bytes);
void deallocate_aligned(void* p, size_t bytes) noexcept;

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(size_t n) { return static_cast<T*>(allocate_aligned(n * sizeof(T))); }
  void deallocate(T* p, size_t n) noexcept { deallocate_aligned(p, n * sizeof(T)); }

  template <class U>
  void construct(U* p) {
    ::new (static_cast<void*>(p)) U;
  }
  template <class U, class... Args>
  void construct(U* p, Args&&... args) {
    ::new (static_cast<void*>(p)) U(std::forward<Args>(args)...);
  }

  template <class U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

// Makes room for `size` elements, after which resize() cannot fail. Geometric: reserving exact sizes makes
// many small adds quadratic.
template <class Vector>
void make_room(Vector& v, size_t size) {
  if (size > v.capacity()) v.reserve(size > 2 * v.capacity() ? size : 2 * v.capacity());
}

}  // namespace tercet
