// The tile kernels of kernels/amx.cc with the instructions in plain C++, for machines that have none. What
// the processor would fault on, this traps on: registers that the configuration does not have, and shapes
// that do not fit together. It reads and writes exactly the bytes that the instructions do, so that
// AddressSanitizer sees a row or a panel overrun.
//
// Operations as in Intel's "Architecture Instruction Set Extensions", written anew from their definition.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/compiler.h"

namespace tercet {
namespace {

struct Tiles {
  struct Shape {
    int rows = 0, row_bytes = 0;
  };
  struct State {
    bool configured = false;
    Shape shapes[8];
    alignas(64) uint8_t data[8][16][64];
  };
  static thread_local State state;

  static void expect(bool condition) {
    if (!condition) __builtin_trap();
  }
  static const Shape& shape(int t) {
    expect(state.configured && t >= 0 && t < 8 && state.shapes[t].rows > 0);
    return state.shapes[t];
  }

  // The 64 bytes of LDTILECFG: palette, first row after an interruption, 14 reserved; bytes of a row, 16 bits
  // each; rows. Palette 1 has 8 registers of at most 16 rows of 64 bytes.
  template <class Config>
  static void configure(const Config& config) {
    static_assert(sizeof(Config) == 64);
    uint8_t bytes[64];
    __builtin_memcpy(bytes, &config, 64);
    expect(bytes[0] == 1 && bytes[1] == 0);
    for (int i = 2; i < 16; ++i) expect(bytes[i] == 0);
    state.configured = true;
    for (int t = 0; t < 16; ++t) {
      const int row_bytes = bytes[16 + 2 * t] | bytes[17 + 2 * t] << 8, rows = bytes[48 + t];
      expect(row_bytes <= 64 && rows <= 16 && (row_bytes == 0) == (rows == 0));
      expect(t < 8 || rows == 0);
      if (t < 8) state.shapes[t] = {rows, row_bytes};
    }
    __builtin_memset(state.data, 0, sizeof state.data);
  }
  static void release() { state.configured = false; }

  template <int T>
  static void zero() {
    shape(T);
    __builtin_memset(state.data[T], 0, sizeof state.data[T]);
  }
  template <int T>
  static void load(const void* from, size_t stride) {
    const Shape& s = shape(T);
    zero<T>();
    for (int i = 0; i < s.rows; ++i) {
      const uint8_t* const row = static_cast<const uint8_t*>(from) + static_cast<size_t>(i) * stride;
      for (int k = 0; k < s.row_bytes; ++k) state.data[T][i][k] = row[k];
    }
  }
  template <int T>
  static void store(void* to, size_t stride) {
    const Shape& s = shape(T);
    for (int i = 0; i < s.rows; ++i) {
      uint8_t* const row = static_cast<uint8_t*>(to) + static_cast<size_t>(i) * stride;
      for (int k = 0; k < s.row_bytes; ++k) row[k] = state.data[T][i][k];
    }
  }

  template <int C, int A, int B>
  static void expect_shapes() {
    static_assert(C != A && C != B && A != B);
    const Shape &c = shape(C), &a = shape(A), &b = shape(B);
    expect(c.row_bytes % 4 == 0 && a.row_bytes % 4 == 0 && b.row_bytes % 4 == 0);
    expect(c.rows == a.rows && a.row_bytes / 4 == b.rows && c.row_bytes == b.row_bytes);
  }

  template <int C, int A, int B>
  static void dpbusd() {
    expect_shapes<C, A, B>();
    for (int m = 0; m < shape(C).rows; ++m) {
      uint32_t sums[16];  // wraps, as the instruction does
      __builtin_memcpy(sums, state.data[C][m], 64);
      for (int k = 0; k < shape(B).rows; ++k) {
        const uint8_t* const x = &state.data[A][m][4 * k];
        for (int n = 0; n < shape(C).row_bytes / 4; ++n) {
          const uint8_t* const y = &state.data[B][k][4 * n];
          for (int i = 0; i < 4; ++i) sums[n] += static_cast<uint32_t>(x[i] * static_cast<int8_t>(y[i]));
        }
      }
      __builtin_memcpy(state.data[C][m], sums, 64);
    }
  }

  static float flushed(float x) { return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0, x) : x; }
  static float widened(const uint8_t* half) {
    const uint32_t bits = static_cast<uint32_t>(half[0] | half[1] << 8) << 16;
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return flushed(x);
  }

  // Even and odd products are summed each for itself, fused and rounded to nearest, then both sums together
  // are added to what was there; subnormals are zero everywhere.
  template <int C, int A, int B>
  static void dpbf16() {
    expect_shapes<C, A, B>();
    for (int m = 0; m < shape(C).rows; ++m) {
      float even[16] = {}, odd[16] = {}, sums[16];
      __builtin_memcpy(sums, state.data[C][m], 64);
      const int columns = shape(C).row_bytes / 4;
      for (int k = 0; k < shape(B).rows; ++k) {
        const float x0 = widened(&state.data[A][m][4 * k]), x1 = widened(&state.data[A][m][4 * k + 2]);
        for (int n = 0; n < columns; ++n) {
          const uint8_t* const y = &state.data[B][k][4 * n];
          even[n] = flushed(__builtin_fmaf(x0, widened(y), even[n]));
          odd[n] = flushed(__builtin_fmaf(x1, widened(y + 2), odd[n]));
        }
      }
      for (int n = 0; n < columns; ++n) {
        sums[n] = flushed(flushed(sums[n]) + flushed(even[n] + odd[n]));
      }
      __builtin_memcpy(state.data[C][m], sums, 64);
    }
  }
};

thread_local Tiles::State Tiles::state;

}  // namespace
}  // namespace tercet

#define TERCET_AMX_EMULATED
#define kAmxPanels kAmxEmulatedPanels
#include "kernels/amx.cc"
