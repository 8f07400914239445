#include "storage/container.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/parallel.h"
#include "storage/crc32c.h"
#include "storage/layout.h"

namespace tercet {
namespace {

bool is_zero(const uint8_t* begin, const uint8_t* end) {
  return std::all_of(begin, end, [](uint8_t b) { return b == 0; });
}

// The product of a shape and an element's size, if it is `bytes`, which no factor may overflow on the way to.
bool shape_is(const FileEntry& entry) {
  uint64_t size = kElementBytes[entry.element];
  bool empty = false;
  for (uint32_t i = 0; i < kMostRank; ++i) {
    if (i >= entry.rank) {
      if (entry.shape[i] != 0) return false;
    } else if (entry.shape[i] == 0) {
      empty = true;
    } else if (size > UINT64_MAX / entry.shape[i]) {
      return false;
    } else {
      size *= entry.shape[i];
    }
  }
  return entry.bytes == (empty ? 0 : size);
}

// A printable part of a name that may be anything.
std::string printable(const char* name, size_t size) {
  std::string text(name, strnlen(name, size));
  std::replace_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace

Container::Container(FileBytes file, std::string name) : file_(std::move(file)), name_(std::move(name)) {
  const auto bytes = file_.bytes;
  require(bytes.size() >= sizeof kMagic && std::memcmp(bytes.data(), kMagic, sizeof kMagic) == 0, name_,
          ": not a tercet index file");
  if (bytes.size() > sizeof kMagic) {
    const int version = bytes[sizeof kMagic];
    require(version == kFormatVersion, name_, ": format version ", version, ", this tercet reads ",
            int{kFormatVersion},
            version > kFormatVersion ? "; a newer one wrote it"
                                     : "; an older one wrote it: make the index again");
  }
  blame([&] { read_directory(); });
}

void Container::read_directory() {
  const auto bytes = file_.bytes;
  FileHeader header;
  require(bytes.size() >= sizeof header, "cut off in the header");
  std::memcpy(&header, bytes.data(), sizeof header);
  require(crc32c(&header, offsetof(FileHeader, crc)) == header.crc, "the header's checksum does not match");
  require((header.flags & ~kKnownFlags) == 0, "it needs features that this tercet does not know: flags ",
          header.flags, ", known are ", kKnownFlags);
  require(header.zero[0] == 0 && header.zero[1] == 0, "the header has no zeros where there should be");
  require(bytes.size() == header.file_bytes, "expected ", header.file_bytes, " bytes, got ", bytes.size());
  require(header.directory_bytes <= bytes.size() - sizeof header &&
              header.sections <= header.directory_bytes / sizeof(FileEntry),
          "the directory does not fit into the file");
  const uint8_t* const directory = bytes.data() + sizeof header;
  require(crc32c(directory, header.directory_bytes) == header.directory_crc,
          "the directory's checksum does not match");

  const uint8_t* checksums = directory + header.sections * sizeof(FileEntry);
  uint64_t blocks_left = (header.directory_bytes - header.sections * sizeof(FileEntry)) / sizeof(uint32_t);
  require(header.directory_bytes % sizeof(uint32_t) == 0, "the directory has an odd length");
  directory_end_ = sizeof header + header.directory_bytes;
  uint64_t end = directory_end_;
  std::set<std::string> names;
  for (uint32_t i = 0; i < header.sections; ++i) {
    FileEntry entry;
    std::memcpy(&entry, directory + i * sizeof entry, sizeof entry);
    const std::string name = printable(entry.name, sizeof entry.name);
    const size_t length = strnlen(entry.name, sizeof entry.name);
    require(length > 0 && length < sizeof entry.name && std::memcmp(name.data(), entry.name, length) == 0 &&
                std::all_of(
                    entry.name + length, std::end(entry.name), [](char c) { return c == 0; }),
            "section ", i, " has no name of the format: '", name, "'");
    require(names.insert(name).second, "section '", name, "' is there twice");
    require(entry.element >= 1 && entry.element <= kElements && entry.rank >= 1 && entry.rank <= kMostRank &&
                entry.zero == 0 && shape_is(entry),
            "section '", name, "' has no type and shape of the format");
    require(entry.offset % kSectionAlignment == 0 && entry.offset >= end && entry.offset <= bytes.size() &&
                entry.bytes <= bytes.size() - entry.offset,
            "section '", name, "' lies outside of its place: ", entry.bytes, " bytes at ", entry.offset);
    const uint64_t blocks = blocks_of(entry.bytes);
    require(blocks <= blocks_left, "section '", name, "' has no checksums");
    entries_.push_back({name, static_cast<Element>(entry.element), entry.offset, entry.bytes, checksums});
    checksums += blocks * sizeof(uint32_t);
    blocks_left -= blocks;
    end = entry.offset + entry.bytes;
  }
  require(blocks_left == 0, "the directory has checksums of no section");
  require(bytes.size() == aligned(end), "expected ", aligned(end), " bytes, got ", bytes.size());
}

std::vector<std::pair<std::string, uint64_t>> Container::sections() const {
  std::vector<std::pair<std::string, uint64_t>> sections;
  for (const Entry& entry : entries_) sections.emplace_back(entry.name, entry.bytes);
  return sections;
}

std::span<const uint8_t> Container::generation() const {
  return file_.bytes.subspan(offsetof(FileHeader, generation), sizeof FileHeader::generation);
}

const Container::Entry* Container::find(const std::string& section) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == section; });
  return found == entries_.end() ? nullptr : &*found;
}

const Container::Entry* Container::find(const std::string& section, Element element) const {
  const Entry* const entry = find(section);
  require(!entry || entry->element == element, "section '", section, "': expected ",
          kElementNames[static_cast<uint32_t>(element)], ", got ",
          entry ? kElementNames[static_cast<uint32_t>(entry->element)] : "");
  return entry;
}

void Container::check_count(const std::string& section, size_t got, size_t expected) {
  require(got == expected, section, ": expected ", expected, " values, got ", got);
}

void Container::verify(const Entry& entry) const {
  const uint8_t* const data = file_.bytes.data() + entry.offset;
  parallel_for(blocks_of(entry.bytes), 0, [&](size_t block, size_t) {
    const uint64_t begin = block * kBlockBytes, size = std::min(kBlockBytes, entry.bytes - begin);
    uint32_t expected;
    std::memcpy(&expected, entry.checksums + block * sizeof expected, sizeof expected);
    require(crc32c(data + begin, size) == expected, "the checksum of section '", entry.name,
            "' does not match, in bytes ", begin, " to ", begin + size, " of it");
  });
}

void Container::verify(const std::string& section) const {
  if (const Entry* const entry = find(section)) verify(*entry);
}

void Container::verify() const {
  const Container again(file_, name_);  // header and directory
  blame([&] {
    uint64_t end = directory_end_;
    const uint8_t* const data = file_.bytes.data();
    for (const Entry& entry : entries_) {
      require(is_zero(data + end, data + entry.offset), "bytes before section '", entry.name,
              "' are not zero");
      verify(entry);
      end = entry.offset + entry.bytes;
    }
    require(is_zero(data + end, data + file_.bytes.size()), "bytes behind the last section are not zero");
  });
}

void Container::blame(const std::function<void()>& f) const {
  try {
    f();
  } catch (const Error& e) {
    fail(ErrorKind::value, name_, ": damaged index: ", e.what());
  }
}

}  // namespace tercet
