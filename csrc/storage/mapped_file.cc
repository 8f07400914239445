#include "storage/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/aligned.h"

#if defined(_WIN32)
#include <io.h>
#else
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace tercet {
namespace {

[[noreturn]] void fail_system(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

#if defined(_WIN32)
uint64_t length_of(int file) {
  const auto length = ::_filelengthi64(file);
  if (length < 0) fail_system("length of a file");
  return static_cast<uint64_t>(length);
}
int64_t read_at(int file, uint8_t* to, size_t size, uint64_t place) {
  if (::_lseeki64(file, static_cast<int64_t>(place), SEEK_SET) < 0) return -1;
  return ::_read(file, to, static_cast<unsigned>(size));
}
#else
uint64_t length_of(int file) {
  struct stat facts;
  if (::fstat(file, &facts) != 0) fail_system("length of a file");
  return static_cast<uint64_t>(facts.st_size);
}
int64_t read_at(int file, uint8_t* to, size_t size, uint64_t place) {
  return ::pread(file, to, size, static_cast<off_t>(place));
}
#endif

}  // namespace

FileBytes read_file(int file) {
  constexpr size_t kMost = size_t{1} << 30;  // at once: some systems take no more
  const uint64_t length = length_of(file);
  const auto memory = std::make_shared<AlignedVector<uint8_t>>(length);
  for (uint64_t done = 0; done < length;) {
    const int64_t got = read_at(file, memory->data() + done,
                                static_cast<size_t>(std::min<uint64_t>(kMost, length - done)), done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system("read");
    if (got == 0) {  // it has become shorter meanwhile: what is there will not fit the header
      memory->resize(done);
      break;
    }
    done += static_cast<uint64_t>(got);
  }
  return {{memory->data(), memory->size()}, memory};
}

FileBytes map_file(int file) {
#if !defined(_WIN32)
  const uint64_t length = length_of(file);
  if (length == 0) return {};
  void* const at = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file, 0);
  if (at != MAP_FAILED) {
    const std::shared_ptr<const void> keeper(
        at, [length](const void* p) { ::munmap(const_cast<void*>(p), length); });
    return {{static_cast<const uint8_t*>(at), length}, keeper};
  }
#endif
  return read_file(file);
}

}  // namespace tercet
