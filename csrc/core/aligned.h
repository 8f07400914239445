// Vectors whose storage starts on a cache line and whose new elements are left uninitialised: they hold codes
// that are written right after, and zeroing gigabytes first would cost a pass over memory.
#pragma once
#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace tercet {

constexpr size_t kCacheLine = 64;

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(kCacheLine)));
  }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(kCacheLine)); }

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
