#include "storage/writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <random>
#include <system_error>

#include "core/error.h"
#include "storage/crc32c.h"
#include "storage/layout.h"

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace tercet {
namespace {

using Sink = std::function<void(uint64_t place, const uint8_t* data, size_t size)>;

void write_at(int file, uint64_t place, const uint8_t* data, size_t size) {
  while (size) {
#if defined(_WIN32)
    const int64_t done = ::_lseeki64(file, static_cast<int64_t>(place), SEEK_SET) < 0
                             ? -1
                             : ::_write(file, data, static_cast<unsigned>(size));
#else
    const int64_t done = ::pwrite(file, data, size, static_cast<off_t>(place));
#endif
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw std::system_error(errno, std::generic_category(), "write");
    place += static_cast<uint64_t>(done);
    data += done;
    size -= static_cast<size_t>(done);
  }
}

// Cuts pieces into blocks: whole blocks go on from where they lie, others are put together first.
class Blocks {
 public:
  Blocks(const Sink& sink, uint64_t place) : sink_(sink), place_(place) {}

  void add(std::span<const uint8_t> piece) {
    while (!piece.empty()) {
      if (kept_.empty() && piece.size() >= kBlockBytes) {
        put(piece.data(), kBlockBytes);
        piece = piece.subspan(kBlockBytes);
        continue;
      }
      const size_t size = std::min<size_t>(kBlockBytes - kept_.size(), piece.size());
      kept_.insert(kept_.end(), piece.begin(), piece.begin() + static_cast<long>(size));
      piece = piece.subspan(size);
      if (kept_.size() == kBlockBytes) flush();
    }
  }
  void flush() {
    if (!kept_.empty()) put(kept_.data(), kept_.size());
    kept_.clear();
  }
  std::vector<uint32_t> checksums;

 private:
  void put(const uint8_t* data, size_t size) {
    checksums.push_back(crc32c(data, size));
    sink_(place_, data, size);
    place_ += size;
  }
  const Sink& sink_;
  uint64_t place_;
  std::vector<uint8_t> kept_;
};

// What nobody else calls this state of an index.
void draw(uint8_t (&generation)[16]) {
  std::random_device source;
  for (uint8_t& byte : generation) byte = static_cast<uint8_t>(source());
}

// The checksums are known when all sections are written, so that what is before them comes last: data are
// read once. `begin(bytes)` gets the length of all.
void write_to(const Sections& sections, const std::function<void(uint64_t)>& begin, const Sink& sink) {
  const std::vector<Section>& all = sections.all();
  uint64_t blocks = 0;
  for (const Section& section : all) blocks += blocks_of(section.bytes());
  FileHeader header{};
  std::copy(std::begin(kMagic), std::end(kMagic), header.magic);
  header.version = kFormatVersion;
  header.sections = static_cast<uint32_t>(all.size());
  header.directory_bytes = all.size() * sizeof(FileEntry) + blocks * sizeof(uint32_t);
  draw(header.generation);

  std::vector<FileEntry> entries;
  uint64_t end = sizeof header + header.directory_bytes;
  for (const Section& section : all) {
    FileEntry entry{};
    require(section.name.size() < sizeof entry.name && section.shape.size() <= kMostRank, "section '",
            section.name, "': its name or its shape is too long");
    std::copy(section.name.begin(), section.name.end(), entry.name);
    entry.element = static_cast<uint32_t>(section.element);
    entry.rank = static_cast<uint32_t>(section.shape.size());
    std::copy(section.shape.begin(), section.shape.end(), entry.shape);
    entry.offset = aligned(end);
    entry.bytes = section.bytes();
    end = entry.offset + entry.bytes;
    entries.push_back(entry);
  }
  header.file_bytes = aligned(end);
  begin(header.file_bytes);

  constexpr uint8_t kZeros[kSectionAlignment] = {};
  std::vector<uint8_t> directory(header.directory_bytes);
  if (!entries.empty()) std::memcpy(directory.data(), entries.data(), entries.size() * sizeof(FileEntry));
  size_t place = entries.size() * sizeof(FileEntry);
  end = sizeof header + header.directory_bytes;
  for (size_t i = 0; i < all.size(); ++i) {
    sink(end, kZeros, entries[i].offset - end);
    Blocks out(sink, entries[i].offset);
    for (const auto& piece : all[i].pieces) out.add(piece);
    out.flush();
    const size_t size = out.checksums.size() * sizeof(uint32_t);
    if (size) std::memcpy(directory.data() + place, out.checksums.data(), size);
    place += size;
    end = entries[i].offset + entries[i].bytes;
  }
  sink(end, kZeros, header.file_bytes - end);
  header.directory_crc = crc32c(directory.data(), directory.size());
  header.crc = crc32c(&header, offsetof(FileHeader, crc));
  sink(0, reinterpret_cast<const uint8_t*>(&header), sizeof header);
  sink(sizeof header, directory.data(), directory.size());
}

}  // namespace

void write_container(int file, const Sections& sections) {
  write_to(
      sections, [](uint64_t) {},
      [file](uint64_t place, const uint8_t* data, size_t size) { write_at(file, place, data, size); });
}

std::string container_bytes(const Sections& sections) {
  std::string out;
  write_to(
      sections, [&](uint64_t bytes) { out.resize(bytes); },
      [&](uint64_t place, const uint8_t* data, size_t size) {
        if (size) std::memcpy(out.data() + place, data, size);
      });
  return out;
}

}  // namespace tercet
