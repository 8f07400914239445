#include "core/aligned.h"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace tercet {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLarge = 2 * kHugePage;  // below, rounding up to whole pages would waste too much

std::align_val_t alignment_of(size_t bytes) {
  return std::align_val_t(bytes >= kLarge ? kHugePage : kCacheLine);
}

}  // namespace

void* allocate_aligned(size_t bytes) {
  void* const p = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  // Advice: where it is not taken, or the last page is not whole, ordinary pages do.
  if (bytes >= kLarge) ::madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return p;
}

void deallocate_aligned(void* p, size_t bytes) noexcept { ::operator delete(p, alignment_of(bytes)); }

}  // namespace tercet
