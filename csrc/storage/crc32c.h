// CRC-32C (Castagnoli), the checksum of index files: what iSCSI, ext4 and LevelDB use, since processors have
// an instruction for it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tercet {

// Of `size` bytes after those that gave `before`: crc32c(b, m, crc32c(a, n)) is that of a and b together.
uint32_t crc32c(const void* data, size_t size, uint32_t before = 0) noexcept;

// The same by tables, for machines without the instruction.
uint32_t crc32c_portable(const void* data, size_t size, uint32_t before = 0) noexcept;

}  // namespace tercet
