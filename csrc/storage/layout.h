// The numbers of FORMAT.md, and the two structures of a file as they lie in it.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

namespace tercet {

static_assert(std::endian::native == std::endian::little, "files are little-endian, and used as they are");

constexpr uint8_t kMagic[7] = {'T', 'E', 'R', 'C', 'E', 'T', 0};
constexpr uint8_t kFormatVersion = 3;
constexpr uint32_t kKnownFlags = 0;  // there are none yet
constexpr uint64_t kSectionAlignment = 64;
constexpr uint64_t kBlockBytes = uint64_t{1} << 20;  // that have a checksum of their own
constexpr uint32_t kMostRank = 4;

struct FileHeader {
  uint8_t magic[7];
  uint8_t version;
  uint32_t flags;
  uint32_t sections;
  uint64_t file_bytes;
  uint64_t directory_bytes;
  uint8_t generation[16];
  uint32_t directory_crc;
  uint32_t zero[2];
  uint32_t crc;  // of the 60 bytes before it
};
static_assert(sizeof(FileHeader) == 64 && offsetof(FileHeader, crc) == 60);

struct FileEntry {
  char name[32];  // zeros behind it, at least one
  uint32_t element;
  uint32_t rank;
  uint64_t shape[kMostRank];  // zeros behind the rank
  uint64_t offset;
  uint64_t bytes;
  uint64_t zero;
};
static_assert(sizeof(FileEntry) == 96);

constexpr uint64_t aligned(uint64_t place) {
  return (place + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}
constexpr uint64_t blocks_of(uint64_t bytes) { return bytes / kBlockBytes + (bytes % kBlockBytes != 0); }

}  // namespace tercet
