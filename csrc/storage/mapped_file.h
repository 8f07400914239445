// The bytes of a file, for reading: mapped, so that processes share them and none is read before it is used,
// or read into memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tercet {

struct FileBytes {
  std::span<const uint8_t> bytes;      // begin at a multiple of 64
  std::shared_ptr<const void> keeper;  // as long as it lives, so do they
};

// `file` is a descriptor, which may be closed afterwards. Where the system cannot map it, it is read. Whoever
// cuts a mapped file short breaks its readers; replacing it by another (rename) does not. Throws
// std::system_error.
FileBytes map_file(int file);
FileBytes read_file(int file);

}  // namespace tercet
