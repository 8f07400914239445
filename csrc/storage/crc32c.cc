// The instruction is in the baseline that the whole library is compiled for (x86-64-v2, and Arm where the
// compiler is told so), so this file needs no flags of its own and is no kernel; it is reached through the
// compiler's builtins, and headers of intrinsics stay in kernels/.
#include "storage/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace tercet {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, lowest bit first

using Table = std::array<uint32_t, 256>;

// tables[k][b]: the state after byte b and k bytes of zero.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t state = b;
    for (int bit = 0; bit < 8; ++bit) state = state >> 1 ^ (state & 1 ? kPolynomial : 0);
    tables[0][b] = state;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t before = tables[k - 1][b];
      tables[k][b] = before >> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
constexpr std::array<Table, 8> kTables = make_tables();

uint64_t load(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  static_assert(std::endian::native == std::endian::little);
  return word;
}

uint32_t by_tables(uint32_t state, const uint8_t* p, size_t size) {
  for (; size >= 8; p += 8, size -= 8) {
    const uint64_t word = load(p) ^ state;
    state = 0;
    for (size_t k = 0; k < 8; ++k) state ^= kTables[7 - k][word >> 8 * k & 0xff];
  }
  for (; size; ++p, --size) state = state >> 8 ^ kTables[0][(state ^ *p) & 0xff];
  return state;
}

#if defined(__SSE4_2__) || defined(__ARM_FEATURE_CRC32)

#if defined(__SSE4_2__)
uint64_t step(uint64_t state, uint64_t word) { return __builtin_ia32_crc32di(state, word); }
#else
uint64_t step(uint64_t state, uint64_t word) { return __crc32cd(static_cast<uint32_t>(state), word); }
#endif

// The instruction takes three cycles, but a new one can begin in each: three streams side by side, each of
// `kRun` bytes. The state is linear over GF(2), so that of the first is carried over the others' bytes by a
// table.
constexpr size_t kRun = 1024;

// What becomes of a state over `kRun` bytes of zero, by its bytes.
std::array<Table, 4> make_jump() {
  std::array<Table, 4> jump{};
  const std::array<uint8_t, kRun> zeros{};
  for (size_t byte = 0; byte < 4; ++byte) {
    for (uint32_t bit = 0; bit < 8; ++bit) {
      const uint32_t after = by_tables(1u << (8 * byte + bit), zeros.data(), kRun);
      for (uint32_t b = 0; b < 256; ++b) jump[byte][b] ^= b >> bit & 1 ? after : 0;
    }
  }
  return jump;
}

uint32_t by_instruction(uint32_t state, const uint8_t* p, size_t size) {
  static const std::array<Table, 4> kJump = make_jump();
  const auto over_run = [&](uint64_t s) {
    return kJump[0][s & 0xff] ^ kJump[1][s >> 8 & 0xff] ^ kJump[2][s >> 16 & 0xff] ^ kJump[3][s >> 24 & 0xff];
  };
  for (; size >= 3 * kRun; p += 3 * kRun, size -= 3 * kRun) {
    uint64_t a = state, b = 0, c = 0;
    for (size_t i = 0; i < kRun; i += 8) {
      a = step(a, load(p + i));
      b = step(b, load(p + kRun + i));
      c = step(c, load(p + 2 * kRun + i));
    }
    b ^= over_run(a);
    c ^= over_run(b);
    state = static_cast<uint32_t>(c);
  }
  uint64_t wide = state;
  for (; size >= 8; p += 8, size -= 8) wide = step(wide, load(p));
  return by_tables(static_cast<uint32_t>(wide), p, size);
}

#else

uint32_t by_instruction(uint32_t state, const uint8_t* p, size_t size) { return by_tables(state, p, size); }

#endif

}  // namespace

uint32_t crc32c(const void* data, size_t size, uint32_t before) noexcept {
  return ~by_instruction(~before, static_cast<const uint8_t*>(data), size);
}

uint32_t crc32c_portable(const void* data, size_t size, uint32_t before) noexcept {
  return ~by_tables(~before, static_cast<const uint8_t*>(data), size);
}

}  // namespace tercet
