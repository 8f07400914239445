// AVX2 and FMA: 8 query rows a vector, 16 registers.
//
// Register plan: 2 vectors of query rows x 6 document rows = 12 accumulators + 2 query + 1 broadcast (the
// shape of GotoBLAS' 6 x 16); int8 needs more temporaries and takes 4 rows.
#include <immintrin.h>

#include "kernels/compiler.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

using Vec = __m256;
TERCET_INLINE Vec vec_set1(float x) { return _mm256_set1_ps(x); }
TERCET_INLINE Vec vec_load(const float* p) { return _mm256_loadu_ps(p); }
TERCET_INLINE void vec_store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
TERCET_INLINE Vec vec_add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
TERCET_INLINE Vec vec_max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
TERCET_INLINE uint32_t vec_ge(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
using Numbers = __m256i;
TERCET_INLINE Numbers numbers_set1(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
TERCET_INLINE Numbers numbers_load(const uint32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
TERCET_INLINE void numbers_store(uint32_t* p, Numbers v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
}
TERCET_INLINE void keep_greater(Vec& best, Numbers& row, Vec v, Numbers base, int j) {
  const __m256 greater = _mm256_cmp_ps(v, best, _CMP_GT_OQ);
  best = _mm256_blendv_ps(best, v, greater);
  row = _mm256_blendv_epi8(row, _mm256_add_epi32(base, _mm256_set1_epi32(j)), _mm256_castps_si256(greater));
}
TERCET_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
TERCET_INLINE void prefetch_l1(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

constexpr int kLineGroups = 16, kFewRows = 4;
TERCET_NOINLINE void transpose(const uint8_t* rows, size_t stride, size_t bytes, uint8_t* out) {
  alignas(32) uint8_t padded[8][64];
  if (bytes < 64) {
    for (int i = 0; i < 8; ++i) {
      for (size_t k = 0; k < 64; ++k) padded[i][k] = k < bytes ? rows[i * stride + k] : 0;
    }
    rows = padded[0];
    stride = 64;
  }
  for (int half = 0; half < 2; ++half, rows += 32, out += 8 * 32) {
    __m256 a[8], b[8];
    TERCET_UNROLL for (int i = 0; i < 8; ++i) {
      a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(rows + i * stride));
    }
    // 4 x 4 blocks of words inside 128-bit lanes, then the lanes
    TERCET_UNROLL for (int i = 0; i < 8; i += 2) {
      b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
      b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    TERCET_UNROLL for (int i = 0; i < 8; i += 4) {
      a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
      a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
      a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
      a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    TERCET_UNROLL for (int i = 0; i < 4; ++i) {
      float* const words = reinterpret_cast<float*>(out);
      _mm256_store_ps(words + i * 8, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
      _mm256_store_ps(words + (i + 4) * 8, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
  }
}

#include "kernels/panel-inl.h"

#include "kernels/few-inl.h"

#include "kernels/integers_avx2-inl.h"

struct Float32 {
  using Acc = __m256;
  using Query = __m256;
  using Broadcast = __m256;
  static constexpr int kLanes = 8, kParts = 1;
  static constexpr size_t kElementBytes = 4, kPanelGroupBytes = kPanelRows * 4;
  static constexpr Rows kRows = Rows::stored;
  template <int RT>
  static constexpr int kTokens = RT == 1 ? 8 : 6;
  template <int NT>
  struct Scales {
    explicit Scales(const uint16_t*) {}
  };
  static TERCET_INLINE Acc start(const Panel&, int) { return _mm256_setzero_ps(); }
  static TERCET_INLINE Query load_query(const uint8_t* p) {
    return _mm256_load_ps(reinterpret_cast<const float*>(p));
  }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return _mm256_set1_ps(x);
  }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t) { return broadcast(p); }  // never
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) { return _mm256_fmadd_ps(q, b, acc); }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S&, int) {
    return acc;
  }
  static TERCET_INLINE Vec scale_rows(Vec score, const Panel&, int) { return score; }

  static TERCET_INLINE Query spread(const uint8_t* p) { return broadcast(p); }
  static TERCET_INLINE Broadcast load_rows(const uint8_t* p) { return load_query(p); }
  static TERCET_INLINE Acc start_of(const Panel&, int) { return _mm256_setzero_ps(); }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t*) { return acc; }
  static TERCET_INLINE Vec scale_row(Vec score, const Panel&, int) { return score; }
};

// -|q - x|^2
struct Distance : Float32 {
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) {
    const __m256 difference = _mm256_sub_ps(q, b);
    return _mm256_fmadd_ps(difference, difference, acc);
  }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S&, int) {
    return _mm256_sub_ps(_mm256_setzero_ps(), acc);
  }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t*) {
    return _mm256_sub_ps(_mm256_setzero_ps(), acc);
  }
};

struct Bfloat16 : Float32 {
  static constexpr size_t kElementBytes = 2, kPanelGroupBytes = 2 * kPanelRows * 4;
  static constexpr Rows kRows = Rows::widened;
  static constexpr int kParts = 2;
  static TERCET_INLINE Broadcast part(const uint8_t* words, int odd) {
    const __m256i pairs = _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return _mm256_castsi256_ps(odd ? _mm256_and_si256(pairs, upper) : _mm256_slli_epi32(pairs, 16));
  }
  static TERCET_INLINE void widen(const uint8_t* row, size_t groups, size_t tail, float* even, float* odd) {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    size_t g = 0;
    for (; g + 8 <= groups; g += 8) {
      const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + g * kGroupBytes));
      _mm256_store_si256(reinterpret_cast<__m256i*>(even + g), _mm256_slli_epi32(pairs, 16));
      _mm256_store_si256(reinterpret_cast<__m256i*>(odd + g), _mm256_and_si256(pairs, upper));
    }
    for (; g < groups + (tail ? 1 : 0); ++g) {
      uint16_t pair[2] = {0, 0};
      __builtin_memcpy(pair, row + g * kGroupBytes, 2);
      if (g < groups) __builtin_memcpy(pair + 1, row + g * kGroupBytes + 2, 2);
      const uint32_t bits[2] = {uint32_t{pair[0]} << 16, uint32_t{pair[1]} << 16};
      __builtin_memcpy(even + g, bits, 4);
      __builtin_memcpy(odd + g, bits + 1, 4);
    }
  }
};

// ---- product codes

#include "kernels/product-inl.h"

// ---- encoding

struct Lanes {
  static constexpr int kCount = 8, kGrids = 2;
  static TERCET_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
  static TERCET_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
  static TERCET_INLINE Vec fused(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  // v without its fraction, and within [0, most].
  static TERCET_INLINE Vec truncate_to(Vec v, float most) {
    const Vec within = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), _mm256_set1_ps(most));
    return _mm256_round_ps(within, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  }
  // Lane i of the result is lane i ^ kHalf.
  template <int kHalf>
  static TERCET_INLINE Vec swap(Vec v) {
    if constexpr (kHalf == 1) return _mm256_permute_ps(v, 0xb1);
    if constexpr (kHalf == 2) return _mm256_permute_ps(v, 0x4e);
    if constexpr (kHalf == 4) return _mm256_permute2f128_ps(v, v, 1);
  }
};

#include "kernels/encode-inl.h"

// ---- pairs: dimension k is summed in lane k % 32

TERCET_INLINE __m256 load8(const float* p) { return _mm256_loadu_ps(p); }
TERCET_INLINE __m256 load8(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
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
  alignas(32) float lanes[32] = {};
  __m256 sum[4] = {};
  size_t k = 0;
  for (; k + 32 <= dim; k += 32) {
    TERCET_UNROLL for (int i = 0; i < 4; ++i) {
      sum[i] = _mm256_fmadd_ps(load8(a + k + 8 * i), load8(b + k + 8 * i), sum[i]);
    }
  }
  for (int i = 0; i < 4; ++i) _mm256_store_ps(lanes + 8 * i, sum[i]);
  for (size_t lane = 0; k < dim; ++k, ++lane) {
    lanes[lane] = __builtin_fmaf(load1(a + k), load1(b + k), lanes[lane]);
  }
  for (int half = 16; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

float pair_distance(const float* a, const float* b, size_t dim) noexcept {
  alignas(32) float lanes[32] = {};
  __m256 sum[4] = {};
  size_t k = 0;
  for (; k + 32 <= dim; k += 32) {
    TERCET_UNROLL for (int i = 0; i < 4; ++i) {
      const __m256 difference = _mm256_sub_ps(load8(a + k + 8 * i), load8(b + k + 8 * i));
      sum[i] = _mm256_fmadd_ps(difference, difference, sum[i]);
    }
  }
  for (int i = 0; i < 4; ++i) _mm256_store_ps(lanes + 8 * i, sum[i]);
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
  __m256i sum = _mm256_setzero_si256();
  size_t k = 0;
  for (; k + 16 <= dim; k += 16) {
    const __m256i q = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query + k)));
    const __m256i d = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + k)));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(q, d));
  }
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
  int32_t total = 0;
  for (int i = 0; i < 8; ++i) total += lanes[i];
  for (; k < dim; ++k) total += query[k] * row[k];
  return total;
}

void rows_int8(const int8_t* query, const uint8_t* rows, size_t stride, const uint32_t* ids, size_t count,
               size_t dim, int32_t* sums) noexcept {
  const auto widen = [](const auto* p) TERCET_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  };
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const uint8_t* row[4];
    __m256i sum[4];
    TERCET_UNROLL for (int j = 0; j < 4; ++j) {
      row[j] = rows + ids[i + j] * stride;
      sum[j] = _mm256_setzero_si256();
    }
    size_t k = 0;
    for (; k + 16 <= dim; k += 16) {
      const __m256i q = _mm256_cvtepi8_epi16(widen(query + k));
      TERCET_UNROLL for (int j = 0; j < 4; ++j) {
        sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(q, _mm256_cvtepu8_epi16(widen(row[j] + k))));
      }
    }
    const __m256i folded =
        _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + i),
                     _mm_add_epi32(_mm256_castsi256_si128(folded), _mm256_extracti128_si256(folded, 1)));
    for (; k < dim; ++k) {
      for (int j = 0; j < 4; ++j) sums[i + j] += query[k] * row[j][k];
    }
  }
  for (; i < count; ++i) sums[i] = pair_int8(query, rows + ids[i] * stride, dim);
}

// ---- memory

// An exponent of all ones is an infinity or a NaN.
bool all_finite(Format format, const uint8_t* values, size_t count) noexcept {
  if (is_integer(format)) return true;
  const bool wide = format != Format::bfloat16;
  const size_t bytes = count * (wide ? 4 : 2);
  __m256i all = _mm256_setzero_si256();  // the sign is shifted out, then unsigned maxima
  size_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
    all =
        wide ? _mm256_max_epu32(all, _mm256_add_epi32(v, v)) : _mm256_max_epu16(all, _mm256_add_epi16(v, v));
  }
  alignas(32) uint32_t words[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), all);
  bool finite = true;
  for (uint32_t word : words) {
    finite = finite && (wide ? word < 0xff000000u : (word & 0xffff) < 0xff00u && (word >> 16) < 0xff00u);
  }
  for (; i < bytes; i += wide ? 4 : 2) {
    uint32_t exponent = 0;  // the upper two bytes of either format hold it
    __builtin_memcpy(&exponent, values + i + (wide ? 2 : 0), 2);
    finite = finite && (exponent & 0x7f80) != 0x7f80;
  }
  return finite;
}

uint64_t read(const uint8_t* data, size_t bytes) noexcept {
  __m256i sum[4] = {};
  for (size_t i = 0; i + 128 <= bytes; i += 128) {
    TERCET_UNROLL for (int j = 0; j < 4; ++j) {
      sum[j] =
          _mm256_xor_si256(sum[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + j * 32)));
    }
  }
  alignas(32) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words),
                     _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3])));
  return words[0] ^ words[1] ^ words[2] ^ words[3];
}

}  // namespace

const Kernels kAvx2Kernels = {
    Isa::avx2,
    {
        panel_kernels<Float32>("avx2 fma", pack_float32),
        panel_kernels<Bfloat16>("avx2 fma, widened", pack_bfloat16_widened),
        panel_kernels<Int8>("avx2 maddwd", pack_integers<Format::int8>),
        panel_kernels<Packed<4>>("avx2 maddubsw, unpacked", pack_integers<Format::int4>),
        panel_kernels<Packed<2>>("avx2 maddubsw, unpacked", pack_integers<Format::int2>),
        panel_kernels<Packed<1>>("avx2 maddubsw, unpacked", pack_integers<Format::int1>),
        panel_kernels<Distance>("avx2 fma", pack_float32),
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
