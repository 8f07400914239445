// Files of any bytes: refused, or every array they say they have lies inside of them.
#include <algorithm>
#include <cstring>

#include "core/random.h"
#include "fuzz.h"
#include "saved.h"
#include "storage/crc32c.h"
#include "storage/layout.h"

using namespace tercet;

namespace {

// The first byte says whether header and directory get checksums that are right, so that what is behind them
// is reached.
std::string repaired(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  FileHeader header;
  if (size < sizeof header) return file;
  std::memcpy(&header, data, sizeof header);
  header.file_bytes = size;
  if (header.directory_bytes <= size - sizeof header) {
    header.directory_crc = crc32c(file.data() + sizeof header, header.directory_bytes);
  }
  header.crc = crc32c(&header, offsetof(FileHeader, crc));
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

template <class T>
uint64_t sum_of(const Container& file, const std::string& name) {
  uint64_t sum = 0;
  fuzz::attempt([&] {
    for (const T x : file.view<T>(name)) sum += static_cast<uint64_t>(x != T{});
    fuzz::happened(10 + sizeof(T));
  });
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes = data[0] % 2 ? repaired(data + 1, size - 1)
                                        : std::string(reinterpret_cast<const char*>(data + 1), size - 1);
  std::shared_ptr<Container> file;
  if (!fuzz::attempt([&] { file = open_bytes(bytes); })) return 0;
  fuzz::happened(1);
  for (const auto& section : file->sections()) {
    const std::string& name = section.first;
    sum_of<uint8_t>(*file, name);
    sum_of<uint16_t>(*file, name);
    sum_of<uint32_t>(*file, name);
    sum_of<int64_t>(*file, name);
    sum_of<float>(*file, name);
    if (fuzz::attempt([&] { file->verify(name); })) fuzz::happened(2);
  }
  if (fuzz::attempt([&] { file->verify(); })) fuzz::happened(3);
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<Bytes> all;
  uint64_t state = 8;
  for (int i = 0; i < 24; ++i) {
    Sections sections;
    for (uint64_t n = random_below(state, 5); n; --n) {
      const auto name = "section_" + std::to_string(n);
      const size_t count = random_below(state, 40);
      switch (random_below(state, 4)) {
        case 0:
          sections.own(name, std::vector<uint8_t>(count, 7));
          break;
        case 1:
          sections.own(name, std::vector<uint16_t>(count * 3, 7), 3);
          break;
        case 2:
          sections.own(name, std::vector<int64_t>(count, 7));
          break;
        default:
          sections.own(name, std::vector<float>(count, 7));
      }
    }
    const std::string file = container_bytes(sections);
    Bytes input{static_cast<uint8_t>(i % 2)};
    input.insert(input.end(), file.begin(), file.end());
    all.push_back(std::move(input));
  }
  return all;
}
