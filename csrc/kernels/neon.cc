// ASIMD with the dot products of Armv8.2: 4 query rows a vector; simd_neon-inl.h has the register plan.
#include <arm_neon.h>

#include "kernels/compiler.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

#include "kernels/simd_neon-inl.h"

#include "kernels/panel-inl.h"

#include "kernels/few-inl.h"

struct Float32 {
  using Acc = float32x4_t;
  using Query = float32x4_t;
  using Broadcast = float32x2_t;  // its first element
  static constexpr int kLanes = 4, kParts = 1;
  static constexpr size_t kElementBytes = 4, kPanelGroupBytes = kPanelRows * 4;
  static constexpr Rows kRows = Rows::stored;
  template <int RT>
  static constexpr int kTokens = RT == 4 ? 4 : 8;
  template <int NT>
  struct Scales {
    explicit Scales(const uint16_t*) {}
  };
  static TERCET_INLINE Acc start(const Panel&, int) { return vdupq_n_f32(0); }
  static TERCET_INLINE Query load_query(const uint8_t* p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return vreinterpret_f32_u64(element(p)); }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t) { return broadcast(p); }  // never
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) { return vfmaq_lane_f32(acc, q, b, 0); }
  static TERCET_INLINE Acc step(Acc acc, Query q, float32x4_t rows) { return vfmaq_f32(acc, q, rows); }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S&, int) {
    return acc;
  }
  static TERCET_INLINE Vec scale_rows(Vec score, const Panel&, int) { return score; }

  static TERCET_INLINE Query spread(const uint8_t* p) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return vdupq_n_f32(x);
  }
  static TERCET_INLINE float32x4_t load_rows(const uint8_t* p) { return load_query(p); }
  static TERCET_INLINE Acc start_of(const Panel&, int) { return vdupq_n_f32(0); }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t*) { return acc; }
  static TERCET_INLINE Vec scale_row(Vec score, const Panel&, int) { return score; }
};

// -|q - x|^2. There is no subtraction of an element, so rows are broadcast.
struct Distance : Float32 {
  using Broadcast = float32x4_t;
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return spread(p); }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t) { return broadcast(p); }  // never
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) {
    const float32x4_t difference = vsubq_f32(q, b);
    return vfmaq_f32(acc, difference, difference);
  }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S&, int) {
    return vsubq_f32(vdupq_n_f32(0), acc);
  }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t*) { return vsubq_f32(vdupq_n_f32(0), acc); }
};

struct Bfloat16 : Float32 {
  static constexpr size_t kElementBytes = 2, kPanelGroupBytes = 2 * kPanelRows * 4;
  static constexpr Rows kRows = Rows::widened;
  static constexpr int kParts = 2;
  static TERCET_INLINE float32x4_t even(uint32x4_t pairs) {
    return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
  }
  static TERCET_INLINE float32x4_t odd(uint32x4_t pairs) {
    return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
  }
  static TERCET_INLINE float32x4_t part(const uint8_t* words, int second) {
    const uint32x4_t pairs = vreinterpretq_u32_u8(vld1q_u8(words));
    return second ? odd(pairs) : even(pairs);
  }
  static TERCET_INLINE void widen(const uint8_t* row, size_t groups, size_t tail, float* evens, float* odds) {
    size_t g = 0;
    for (; g + 4 <= groups; g += 4) {
      const uint32x4_t pairs = vreinterpretq_u32_u8(vld1q_u8(row + g * kGroupBytes));
      vst1q_f32(evens + g, even(pairs));
      vst1q_f32(odds + g, odd(pairs));
    }
    for (; g < groups + (tail ? 1 : 0); ++g) {
      uint16_t pair[2] = {0, 0};
      __builtin_memcpy(pair, row + g * kGroupBytes, 2);
      if (g < groups) __builtin_memcpy(pair + 1, row + g * kGroupBytes + 2, 2);
      const uint32_t bits[2] = {uint32_t{pair[0]} << 16, uint32_t{pair[1]} << 16};
      __builtin_memcpy(evens + g, bits, 4);
      __builtin_memcpy(odds + g, bits + 1, 4);
    }
  }
};

// SDOT multiplies signed bytes.
struct Signed : Scaled {
  using Broadcast = int8x8_t;  // its first four bytes
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) { return vdotq_lane_s32(acc, q, b, 0); }
  static TERCET_INLINE Acc step(Acc acc, Query q, int8x16_t rows) { return vdotq_s32(acc, q, rows); }
};

// Excess-128 is taken off the rows, and so adds nothing.
struct Int8 : Signed {
  static constexpr Rows kRows = Rows::stored;
  static TERCET_INLINE Acc start(const Panel&, int) { return vdupq_n_s32(0); }
  static TERCET_INLINE Broadcast signed_bytes(uint64x1_t bytes) {
    return vreinterpret_s8_u8(veor_u8(vreinterpret_u8_u64(bytes), vdup_n_u8(0x80)));
  }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return signed_bytes(element(p)); }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t bytes) {
    return signed_bytes(tail_element(p, bytes));
  }
  static TERCET_INLINE Acc start_of(const Panel&, int) { return vdupq_n_s32(0); }
  static TERCET_INLINE int8x16_t load_rows(const uint8_t* p) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80)));
  }
};

// Packed codes: twice the code is multiplied, what that is too much is in the start.
template <int kBits>
struct Packed : Signed {
  static constexpr Rows kRows = Rows::unpacked;
  static constexpr int kParts = 8 / kBits;
  static constexpr bool kHasChunks = false;
  static constexpr size_t kBlockBytes = kBlockDims * kBits / 8;
  static constexpr uint8_t kMask = ((1 << kBits) - 1) * 2;

  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return vreinterpret_s8_u64(element(p)); }
  static TERCET_INLINE int8x16_t part(const uint8_t* words, int p) {
    return vreinterpretq_s8_u8(doubled(vld1q_u8(words), plane_shift(p)));
  }

  // Shifts to the left that put the codes of a plane where twice the code is.
  static TERCET_INLINE int8x16_t plane_shift(int p) { return vdupq_n_s8(static_cast<int8_t>(1 - p * kBits)); }
  static TERCET_INLINE uint8x16_t doubled(uint8x16_t bytes, int8x16_t shift) {
    return vandq_u8(vshlq_u8(bytes, shift), vdupq_n_u8(kMask));
  }
  static TERCET_INLINE void unpack_block(const uint8_t* block, uint8_t* out) {
    if constexpr (kBits == 1) {  // two planes a vector
      uint64_t word;
      __builtin_memcpy(&word, block, 8);
      const uint8x16_t bytes = vreinterpretq_u8_u64(vdupq_n_u64(word));
      TERCET_UNROLL for (int p = 0; p < kParts; p += 2) {
        const int8x16_t shifts = vcombine_s8(vget_low_s8(plane_shift(p)), vget_low_s8(plane_shift(p + 1)));
        vst1q_u8(out + p * kBlockBytes, doubled(bytes, shifts));
      }
    } else {
      TERCET_UNROLL for (size_t i = 0; i < kBlockBytes; i += 16) {
        const uint8x16_t bytes = vld1q_u8(block + i);
        TERCET_UNROLL for (int p = 0; p < kParts; ++p) {
          vst1q_u8(out + p * kBlockBytes + i, doubled(bytes, plane_shift(p)));
        }
      }
    }
  }
  // `groups` groups from the beginning of a block. May write 4 bytes more.
  static TERCET_INLINE void unpack(const uint8_t* block, size_t groups, uint8_t* out) {
    const size_t bytes = (groups * kGroupBytes * kBits + 31) / 32 * 4, plane = bytes % kBlockBytes;
    const uint8_t* const end = block + (bytes - plane);
    TERCET_NO_UNROLL for (; block != end; block += kBlockBytes, out += kBlockDims) unpack_block(block, out);
    if (plane == 0) return;
    for (int p = 0; p < kParts; ++p) {
      for (size_t i = 0; i < plane; i += kGroupBytes, out += kGroupBytes) {
        const uint8x16_t group = vreinterpretq_u8_u64(vcombine_u64(element(block + i), vcreate_u64(0)));
        vst1_u8(out, vget_low_u8(doubled(group, plane_shift(p))));  // the next group overwrites half of it
      }
    }
  }
};

// ---- product codes

#include "kernels/product-inl.h"

// ---- encoding

struct Lanes {
  static constexpr int kCount = 4, kGrids = 2;
  static TERCET_INLINE Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
  static TERCET_INLINE Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
  static TERCET_INLINE Vec fused(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
  // v without its fraction, and within [0, most].
  static TERCET_INLINE Vec truncate_to(Vec v, float most) {
    return vrndq_f32(vminq_f32(vmaxq_f32(v, vdupq_n_f32(0)), vdupq_n_f32(most)));
  }
  // Lane i of the result is lane i ^ kHalf.
  template <int kHalf>
  static TERCET_INLINE Vec swap(Vec v) {
    if constexpr (kHalf == 1) return vrev64q_f32(v);
    if constexpr (kHalf == 2) return vextq_f32(v, v, 2);
  }
};

#include "kernels/encode-inl.h"

// ---- pairs: dimension k is summed in lane k % 32

TERCET_INLINE float32x4_t load4(const float* p) { return vld1q_f32(p); }
TERCET_INLINE float32x4_t load4(const uint16_t* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
TERCET_INLINE float load1(const float* p) { return *p; }
TERCET_INLINE float load1(const uint16_t* p) {
  const uint32_t bits = uint32_t{*p} << 16;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

template <class T>
float pair(const T* a, const T* b, size_t dim) noexcept {
  float lanes[32];
  float32x4_t sum[8] = {};
  size_t k = 0;
  for (; k + 32 <= dim; k += 32) {
    TERCET_UNROLL for (int i = 0; i < 8; ++i) {
      sum[i] = vfmaq_f32(sum[i], load4(a + k + 4 * i), load4(b + k + 4 * i));
    }
  }
  TERCET_UNROLL for (int i = 0; i < 8; ++i) vst1q_f32(lanes + 4 * i, sum[i]);
  for (size_t lane = 0; k < dim; ++k, ++lane) {
    lanes[lane] = __builtin_fmaf(load1(a + k), load1(b + k), lanes[lane]);
  }
  for (int half = 16; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

float pair_distance(const float* a, const float* b, size_t dim) noexcept {
  float lanes[32];
  float32x4_t sum[8] = {};
  size_t k = 0;
  for (; k + 32 <= dim; k += 32) {
    TERCET_UNROLL for (int i = 0; i < 8; ++i) {
      const float32x4_t difference = vsubq_f32(load4(a + k + 4 * i), load4(b + k + 4 * i));
      sum[i] = vfmaq_f32(sum[i], difference, difference);
    }
  }
  TERCET_UNROLL for (int i = 0; i < 8; ++i) vst1q_f32(lanes + 4 * i, sum[i]);
  for (size_t lane = 0; k < dim; ++k, ++lane) {
    const float difference = a[k] - b[k];
    lanes[lane] = __builtin_fmaf(difference, difference, lanes[lane]);
  }
  for (int half = 16; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return 0 - lanes[0];
}

int32_t pair_int8(const int8_t* query, const uint8_t* row, size_t dim) noexcept {
  // The products are of signed values; what is missing is 128 * (sum of the query).
  int32x4_t sum = vdupq_n_s32(0), query_sum = sum;
  size_t k = 0;
  for (; k + 16 <= dim; k += 16) {
    const int8x16_t q = vld1q_s8(query + k);
    sum = vdotq_s32(sum, q, Int8::load_rows(row + k));
    query_sum = vdotq_s32(query_sum, q, vdupq_n_s8(1));
  }
  int32_t total = vaddvq_s32(sum) + 128 * vaddvq_s32(query_sum);
  for (; k < dim; ++k) total += query[k] * row[k];
  return total;
}

void rows_int8(const int8_t* query, const uint8_t* rows, size_t stride, const uint32_t* ids, size_t count,
               size_t dim, int32_t* sums) noexcept {
  for (size_t i = 0; i < count; ++i) sums[i] = pair_int8(query, rows + ids[i] * stride, dim);
}

// ---- memory

// An exponent of all ones is an infinity or a NaN.
bool all_finite(Format format, const uint8_t* values, size_t count) noexcept {
  if (is_integer(format)) return true;
  const bool wide = format != Format::bfloat16;
  const size_t bytes = count * (wide ? 4 : 2);
  uint8x16_t all = vdupq_n_u8(0);  // the sign is shifted out, then unsigned maxima
  size_t i = 0;
  for (; i + 16 <= bytes; i += 16) {
    const uint8x16_t v = vld1q_u8(values + i);
    if (wide) {
      const uint32x4_t words = vshlq_n_u32(vreinterpretq_u32_u8(v), 1);
      all = vreinterpretq_u8_u32(vmaxq_u32(vreinterpretq_u32_u8(all), words));
    } else {
      const uint16x8_t halves = vshlq_n_u16(vreinterpretq_u16_u8(v), 1);
      all = vreinterpretq_u8_u16(vmaxq_u16(vreinterpretq_u16_u8(all), halves));
    }
  }
  bool finite = wide ? vmaxvq_u32(vreinterpretq_u32_u8(all)) < 0xff000000u
                     : vmaxvq_u16(vreinterpretq_u16_u8(all)) < 0xff00u;
  for (; i < bytes; i += wide ? 4 : 2) {
    uint32_t exponent = 0;  // the upper two bytes of either format hold it
    __builtin_memcpy(&exponent, values + i + (wide ? 2 : 0), 2);
    finite = finite && (exponent & 0x7f80) != 0x7f80;
  }
  return finite;
}

uint64_t read(const uint8_t* data, size_t bytes) noexcept {
  uint8x16_t sum[4] = {};
  for (size_t i = 0; i + 64 <= bytes; i += 64) {
    TERCET_UNROLL for (int j = 0; j < 4; ++j) sum[j] = veorq_u8(sum[j], vld1q_u8(data + i + j * 16));
  }
  const uint64x2_t folded =
      vreinterpretq_u64_u8(veorq_u8(veorq_u8(sum[0], sum[1]), veorq_u8(sum[2], sum[3])));
  return vgetq_lane_u64(folded, 0) ^ vgetq_lane_u64(folded, 1);
}

}  // namespace

const Kernels kNeonKernels = {
    Isa::neon,
    {
        panel_kernels<Float32>("neon fma", pack_float32),
        panel_kernels<Bfloat16>("neon fma, widened", pack_bfloat16_widened),
        panel_kernels<Int8>("neon sdot", pack_integers<Format::int8>),
        panel_kernels<Packed<4>>("neon sdot, unpacked", pack_integers<Format::int4>),
        panel_kernels<Packed<2>>("neon sdot, unpacked", pack_integers<Format::int2>),
        panel_kernels<Packed<1>>("neon sdot, unpacked", pack_integers<Format::int1>),
        panel_kernels<Distance>("neon fma", pack_float32),
    },
    pair<float>,
    pair_distance,
    pair<uint16_t>,
    pair_int8,
    rows_int8,
    maxsim_product,
    hadamard,
    fit_grid,
    all_finite,
    read,
};

}  // namespace tercet
