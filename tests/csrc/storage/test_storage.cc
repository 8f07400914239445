// Checksums, and files in memory: what is written is read, and what is not a file is refused.
#include <cstring>
#include <random>

#include "check.h"
#include "core/buffer.h"
#include "core/error.h"
#include "saved.h"
#include "storage/crc32c.h"
#include "storage/layout.h"

using namespace tercet;

namespace {

// Bit by bit, as FORMAT.md says.
uint32_t slow_crc(const std::vector<uint8_t>& bytes) {
  uint32_t state = 0xffffffff;
  for (const uint8_t byte : bytes) {
    state ^= byte;
    for (int bit = 0; bit < 8; ++bit) state = state >> 1 ^ (state & 1 ? 0x82f63b78 : 0);
  }
  return ~state;
}

std::string file_with(size_t codes) {
  Sections sections;
  sections.own("settings", std::vector<uint8_t>{'{', '}'});
  sections.own("codes", std::vector<uint8_t>(codes, 1), 1);
  sections.own("scales", std::vector<uint16_t>{1, 2, 3});
  sections.own("none", std::vector<float>());
  return container_bytes(sections);
}

// With right checksums of header and directory.
std::string sealed(std::string file) {
  FileHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  header.directory_crc = crc32c(file.data() + sizeof header, header.directory_bytes);
  header.crc = crc32c(&header, offsetof(FileHeader, crc));
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

template <class T>
std::string with(std::string file, size_t place, T value) {
  std::memcpy(file.data() + place, &value, sizeof value);
  return sealed(std::move(file));
}

}  // namespace

TEST(crc32c_is_what_it_is_called) {
  CHECK(crc32c("123456789", 9) == 0xe3069283u);
  CHECK(crc32c(nullptr, 0) == 0);
  std::mt19937 random(1);
  std::vector<uint8_t> bytes(40000);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  for (const size_t size : {1u, 7u, 8u, 9u, 63u, 1024u, 3071u, 3072u, 3073u, 9999u, 40000u}) {
    for (const size_t begin : {0u, 1u, 5u}) {
      if (begin + size > bytes.size()) continue;
      const std::vector<uint8_t> part(bytes.begin() + static_cast<long>(begin),
                                      bytes.begin() + static_cast<long>(begin + size));
      const uint32_t want = slow_crc(part);
      CHECK(crc32c(bytes.data() + begin, size) == want);
      CHECK(crc32c_portable(bytes.data() + begin, size) == want);
      const size_t half = size / 3;
      CHECK(crc32c(bytes.data() + begin + half, size - half, crc32c(bytes.data() + begin, half)) == want);
    }
  }
}

TEST(a_container_gives_back_what_it_got) {
  // Pieces that lie anywhere, around the lengths at which a block ends.
  std::mt19937 random(2);
  std::vector<float> values(3 * kBlockBytes / sizeof(float) + 5);
  for (float& v : values) v = static_cast<float>(random());
  std::vector<TokenSpan> spans{{100, 1}, {0, 7}, {7, 3}};
  while (spans.size() < 40) {
    const uint64_t begin = random() % (values.size() - 1);
    spans.push_back({begin, random() % (values.size() - begin) / (spans.size() % 3 ? 50 : 1)});
  }
  std::vector<float> want;
  for (const TokenSpan& s : spans) {
    want.insert(want.end(), values.begin() + static_cast<long>(s.begin),
                values.begin() + static_cast<long>(s.begin + s.count));
  }
  Sections sections;
  sections.gather("rows", values.data(), spans);
  sections.view("all", values);
  sections.own("few", std::vector<int64_t>{-1, 5});
  const auto file = file_of(sections);
  file->verify();
  CHECK(array_of<float>(*file, "rows") == want);
  CHECK(array_of<float>(*file, "all") == values);
  CHECK((array_of<int64_t>(*file, "few") == std::vector<int64_t>{-1, 5}));
  CHECK(file->view<float>("missing").empty());
  CHECK_FAILS(file->view<float>("few"), "section 'few': expected float32, got int64");
  CHECK(reinterpret_cast<uintptr_t>(file->view<float>("all").data()) % 64 == 0);
}

TEST(a_container_refuses_what_is_none) {
  const std::string good = file_with(100);
  open_bytes(good)->verify();
  constexpr size_t kDirectory = sizeof(FileHeader), kEntry = sizeof(FileEntry);
  const auto entry = [&](size_t i, size_t field) { return kDirectory + i * kEntry + field; };
  const auto refused = [](const std::string& file, const char* part) { CHECK_FAILS(open_bytes(file), part); };
  refused("", "not a tercet index");
  refused(good.substr(0, 7), "cut off");
  for (size_t n = 8; n < good.size(); n += 5) refused(good.substr(0, n), n < 64 ? "cut off" : "expected");
  refused(good + std::string(64, '\0'), "expected");
  refused(with<uint32_t>(good, 8, 4), "features");
  refused(with<uint8_t>(good, 7, 2), "format version 2");
  refused(with<uint8_t>(good, 7, 4), "newer");
  refused(with<uint32_t>(good, 12, 0xffffffff), "does not fit");
  refused(with<uint32_t>(good, 12, 3), "no section");
  refused(with<uint64_t>(good, 24, 3), "does not fit");
  refused(with<uint32_t>(good, 52, 1), "no zeros");
  refused(with<uint8_t>(good, entry(1, 0), 0), "no name");
  refused(with<uint8_t>(good, entry(1, 1), 7), "no name of the format: 'c?des'");
  refused(with<uint8_t>(good, entry(1, 31), 'x'), "no name");
  refused(with<uint64_t>(good, entry(2, 0), 0x7365646f63), "'codes' is there twice");
  for (const uint32_t element : {0u, 6u, 0xffffffffu}) refused(with(good, entry(1, 32), element), "no type");
  for (const uint32_t rank : {0u, 1u, 3u, 5u, 0xffffffffu})
    refused(with(good, entry(1, 36), rank), "no type");
  for (const uint64_t n : {uint64_t{99}, uint64_t{101}, uint64_t{1} << 63, ~uint64_t{0}}) {
    refused(with(good, entry(1, 40), n), "no type");
    refused(with(good, entry(1, 80), n), "no type");
  }
  refused(with<uint64_t>(good, entry(1, 64), 1), "no type");
  refused(with<uint64_t>(good, entry(1, 88), 1), "no type");
  for (const uint64_t n : {uint64_t{0}, uint64_t{64}, uint64_t{1} << 63, ~uint64_t{63}}) {
    refused(with(good, entry(1, 72), n), "lies outside");
  }
  refused(with(with(good, entry(1, 40), uint64_t{1} << 40), entry(1, 80), uint64_t{1} << 40), "lies outside");
}

TEST(damage_in_a_container_is_named) {
  const std::string good = file_with(kBlockBytes + 100);
  const auto file = open_bytes(good);
  const size_t codes =
      static_cast<size_t>(file->view<uint8_t>("codes").data() - file->view<uint8_t>("settings").data());
  const size_t begin = good.find("{}") + codes;
  std::string bad = good;
  bad[begin + kBlockBytes + 3] ^= 4;
  const auto damaged = open_bytes(bad);
  damaged->verify("scales");
  CHECK_FAILS(damaged->verify("codes"), "section 'codes' does not match, in bytes 1048576 to 1048676");
  CHECK_FAILS(damaged->verify(), "memory: damaged index: the checksum of section 'codes'");
  bad = good;
  bad.back() = 1;
  CHECK_FAILS(open_bytes(bad)->verify(), "not zero");
}

TEST(a_buffer_becomes_its_own) {
  const auto keeper = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  Buffer<float> buffer;
  buffer.borrow(*keeper, keeper);
  CHECK(buffer.data() == keeper->data() && buffer.size() == 3);
  buffer.resize(5);
  CHECK(keeper.use_count() == 1);
  CHECK(buffer.size() == 5 && buffer.data() == buffer.mutable_data() && buffer.data()[2] == 3);
  buffer.mutable_data()[0] = 9;
  CHECK((*keeper)[0] == 1);
  buffer.resize(2);
  CHECK(buffer.size() == 2);
}
