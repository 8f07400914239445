// AVX-512 with VNNI: 16 query rows a vector, 32 registers.
//
// Register plan: 2 vectors of query rows x 8 document rows = 16 accumulators + 2 query + 1 broadcast; gcc 12
// spills from about 20. Per group that is 10 loads and 16 multiply-adds: with two loads and two 512-bit
// multiply-adds a cycle (Intel) the loads hide behind the arithmetic, and 16 chains cover a latency of 4. 12
// rows measured slower than 8.
#include <immintrin.h>

#include "kernels/compiler.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

#include "kernels/simd_avx512-inl.h"

#include "kernels/panel-inl.h"

#include "kernels/few-inl.h"

#include "kernels/integers_avx512-inl.h"

#include "kernels/pack_avx512-inl.h"

struct Float32 : Unscaled {
  using Query = __m512;
  using Broadcast = __m512;
  static constexpr size_t kElementBytes = 4, kPanelGroupBytes = kPanelRows * 4;
  static constexpr Rows kRows = Rows::stored;
  static TERCET_INLINE Query load_query(const uint8_t* p) { return _mm512_load_ps(p); }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_ps(x);
  }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t) { return broadcast(p); }  // never
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) { return _mm512_fmadd_ps(q, b, acc); }
  static TERCET_INLINE Query spread(const uint8_t* p) { return broadcast(p); }
  static TERCET_INLINE Broadcast load_rows(const uint8_t* p) { return load_query(p); }
};

// -|q - x|^2
struct Distance : Float32 {
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) {
    const __m512 difference = _mm512_sub_ps(q, b);
    return _mm512_fmadd_ps(difference, difference, acc);
  }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S&, int) {
    return _mm512_sub_ps(_mm512_setzero_ps(), acc);
  }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t*) {
    return _mm512_sub_ps(_mm512_setzero_ps(), acc);
  }
};

struct Bfloat16 : Float32 {
  template <int RT>
  static constexpr int kTokens = 8;  // the widened rows take L1
  static constexpr size_t kElementBytes = 2, kPanelGroupBytes = 2 * kPanelRows * 4;
  static constexpr Rows kRows = Rows::widened;
  static constexpr int kParts = 2;
  static TERCET_INLINE Broadcast part(const uint8_t* words, int odd) {
    const __m512i pairs = _mm512_load_si512(words);
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return _mm512_castsi512_ps(odd ? _mm512_and_si512(pairs, upper) : _mm512_slli_epi32(pairs, 16));
  }
  static TERCET_INLINE void widen(const uint8_t* row, size_t groups, size_t tail, float* even, float* odd) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    size_t g = 0;
    for (; g < groups; g += 16) {
      const __mmask16 in = groups - g >= 16 ? 0xffff : static_cast<__mmask16>((1u << (groups - g)) - 1);
      const __m512i pairs = _mm512_maskz_loadu_epi32(in, row + g * kGroupBytes);
      _mm512_store_si512(even + g, _mm512_slli_epi32(pairs, 16));
      _mm512_store_si512(odd + g, _mm512_and_si512(pairs, upper));
    }
    if (tail) {
      uint16_t last;
      __builtin_memcpy(&last, row + groups * kGroupBytes, 2);
      const uint32_t bits = uint32_t{last} << 16;
      __builtin_memcpy(even + groups, &bits, 4);
    }
  }
};

// The kernels of an integer format: those for small scores, if no score of that many dimensions is larger.
template <template <bool> class F, uint32_t kSmallDim>
struct BySize {
  static void maxsim_any(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts,
                         float* best, size_t best_stride) noexcept {
    (rows.dim <= kSmallDim ? maxsim<F<true>> : maxsim<F<false>>)(panel, rows, texts, num_texts, best,
                                                                 best_stride);
  }
  static void dot(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                  float* scores) noexcept {
    (rows.dim <= kSmallDim ? dot_any<F<true>> : dot_any<F<false>>)(panel, rows, first, count, scores);
  }
  static void filter(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                     CandidateSink& sink) noexcept {
    (rows.dim <= kSmallDim ? filter_any<F<true>> : filter_any<F<false>>)(panel, rows, first, count, sink);
  }
  static void nearest_any(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
                          uint32_t* row) noexcept {
    (rows.dim <= kSmallDim ? nearest<F<true>> : nearest<F<false>>)(panel, rows, first, count, best, row);
  }
  static constexpr PanelKernels kernels(const char* name, decltype(PanelKernels::pack) pack) {
    return {name, F<true>::kPanelGroupBytes, pack, maxsim_any, dot, filter, nearest_any, peak<F<true>>};
  }
};

// ---- product codes

#include "kernels/product-inl.h"

// ---- encoding

// For encode-inl.h.
struct Lanes {
  static constexpr int kCount = 16, kGrids = 4;
  static TERCET_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
  static TERCET_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static TERCET_INLINE Vec fused(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  // v without its fraction, and within [0, most].
  static TERCET_INLINE Vec truncate_to(Vec v, float most) {
    const Vec within = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(most));
    return _mm512_roundscale_ps(within, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  }
  // Lane i of the result is lane i ^ kHalf.
  template <int kHalf>
  static TERCET_INLINE Vec swap(Vec v) {
    if constexpr (kHalf == 1) return _mm512_permute_ps(v, 0xb1);
    if constexpr (kHalf == 2) return _mm512_permute_ps(v, 0x4e);
    if constexpr (kHalf == 4) return _mm512_shuffle_f32x4(v, v, 0xb1);
    if constexpr (kHalf == 8) return _mm512_shuffle_f32x4(v, v, 0x4e);
  }
};

#include "kernels/encode-inl.h"

// ---- pairs: dimension k is summed in lane k % 32

TERCET_INLINE float fold(__m512 low, __m512 high) {
  const __m512 v16 = _mm512_add_ps(low, high);
  const __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v16), _mm512_extractf32x8_ps(v16, 1));
  const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
  const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_add_ss(v2, _mm_shuffle_ps(v2, v2, 1)));
}

TERCET_INLINE __mmask16 first_lanes(size_t n) {
  return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
}

TERCET_INLINE __m512 load_lanes(const float* p, __mmask16 in) { return _mm512_maskz_loadu_ps(in, p); }
TERCET_INLINE __m512 load_lanes(const uint16_t* p, __mmask16 in) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(in, p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

template <class T>
float pair(const T* a, const T* b, size_t dim) noexcept {
  __m512 low = _mm512_setzero_ps(), high = low;
  size_t k = 0;
  for (; k + 32 <= dim; k += 32) {
    low = _mm512_fmadd_ps(load_lanes(a + k, 0xffff), load_lanes(b + k, 0xffff), low);
    high = _mm512_fmadd_ps(load_lanes(a + k + 16, 0xffff), load_lanes(b + k + 16, 0xffff), high);
  }
  const size_t rest = dim - k;
  const __mmask16 in_low = first_lanes(rest), in_high = rest > 16 ? first_lanes(rest - 16) : 0;
  if (in_low) low = _mm512_mask3_fmadd_ps(load_lanes(a + k, in_low), load_lanes(b + k, in_low), low, in_low);
  if (in_high) {
    high = _mm512_mask3_fmadd_ps(load_lanes(a + k + 16, in_high), load_lanes(b + k + 16, in_high), high,
                                 in_high);
  }
  return fold(low, high);
}

float pair_distance(const float* a, const float* b, size_t dim) noexcept {
  __m512 low = _mm512_setzero_ps(), high = low;
  const auto add = [&](__m512 sum, size_t k, __mmask16 in) TERCET_INLINE_LAMBDA {
    const __m512 difference = _mm512_sub_ps(load_lanes(a + k, in), load_lanes(b + k, in));
    return _mm512_mask3_fmadd_ps(difference, difference, sum, in);
  };
  size_t k = 0;
  for (; k + 32 <= dim; k += 32) {
    low = add(low, k, 0xffff);
    high = add(high, k + 16, 0xffff);
  }
  const size_t rest = dim - k;
  if (rest) low = add(low, k, first_lanes(rest));
  if (rest > 16) high = add(high, k + 16, first_lanes(rest - 16));
  return 0 - fold(low, high);
}

int32_t pair_int8(const int8_t* query, const uint8_t* row, size_t dim) noexcept {
  __m512i sum = _mm512_setzero_si512();
  size_t k = 0;
  for (; k + 64 <= dim; k += 64) {
    sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(row + k), _mm512_loadu_si512(query + k));
  }
  if (const size_t rest = dim - k) {
    const __mmask64 in = (uint64_t{1} << rest) - 1;
    sum = _mm512_dpbusd_epi32(sum, _mm512_maskz_loadu_epi8(in, row + k),
                              _mm512_maskz_loadu_epi8(in, query + k));
  }
  return _mm512_reduce_add_epi32(sum);
}

// The sums of four vectors of sums.
TERCET_INLINE __m128i fold4(const __m512i (&sums)[4]) {
  __m256i half[4];
  TERCET_UNROLL for (int j = 0; j < 4; ++j) {
    half[j] = _mm256_add_epi32(_mm512_castsi512_si256(sums[j]), _mm512_extracti64x4_epi64(sums[j], 1));
  }
  const __m256i folded =
      _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]), _mm256_hadd_epi32(half[2], half[3]));
  return _mm_add_epi32(_mm256_castsi256_si128(folded), _mm256_extracti128_si256(folded, 1));
}

void rows_int8(const int8_t* query, const uint8_t* rows, size_t stride, const uint32_t* ids, size_t count,
               size_t dim, int32_t* sums) noexcept {
  const __mmask64 in = (uint64_t{1} << dim % 64) - 1;
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const uint8_t* row[4];
    __m512i sum[4];
    TERCET_UNROLL for (int j = 0; j < 4; ++j) {
      row[j] = rows + ids[i + j] * stride;
      sum[j] = _mm512_setzero_si512();
    }
    size_t k = 0;
    for (; k + 64 <= dim; k += 64) {
      const __m512i q = _mm512_loadu_si512(query + k);
      TERCET_UNROLL for (int j = 0; j < 4; ++j) {
        sum[j] = _mm512_dpbusd_epi32(sum[j], _mm512_loadu_si512(row[j] + k), q);
      }
    }
    if (k < dim) {
      const __m512i q = _mm512_maskz_loadu_epi8(in, query + k);
      TERCET_UNROLL for (int j = 0; j < 4; ++j) {
        sum[j] = _mm512_dpbusd_epi32(sum[j], _mm512_maskz_loadu_epi8(in, row[j] + k), q);
      }
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + i), fold4(sum));
  }
  for (; i < count; ++i) sums[i] = pair_int8(query, rows + ids[i] * stride, dim);
}

// ---- memory

// An exponent of all ones is an infinity or a NaN.
bool all_finite(Format format, const uint8_t* values, size_t count) noexcept {
  if (is_integer(format)) return true;
  const bool wide = format != Format::bfloat16;
  const size_t bytes = count * (wide ? 4 : 2);
  __m512i all = _mm512_setzero_si512();  // the sign is shifted out, then unsigned maxima
  const auto look = [&](__m512i v) {
    all =
        wide ? _mm512_max_epu32(all, _mm512_add_epi32(v, v)) : _mm512_max_epu16(all, _mm512_add_epi16(v, v));
  };
  size_t i = 0;
  for (; i + 64 <= bytes; i += 64) look(_mm512_loadu_si512(values + i));
  if (i < bytes) look(_mm512_maskz_loadu_epi8((uint64_t{1} << (bytes - i)) - 1, values + i));
  return wide ? _mm512_cmpge_epu32_mask(all, _mm512_set1_epi32(static_cast<int>(0xff000000u))) == 0
              : _mm512_cmpge_epu16_mask(all, _mm512_set1_epi16(static_cast<short>(0xff00u))) == 0;
}

uint64_t read(const uint8_t* data, size_t bytes) noexcept {
  __m512i sum[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    TERCET_UNROLL for (int j = 0; j < 4; ++j) {
      sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(data + i + j * 64));
    }
  }
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(
      _mm512_xor_si512(_mm512_xor_si512(sum[0], sum[1]), _mm512_xor_si512(sum[2], sum[3]))));
}

}  // namespace

const Kernels kAvx512Kernels = {
    Isa::avx512,
    {
        panel_kernels<Float32>("avx512 fma", pack_float32),
        panel_kernels<Bfloat16>("avx512 fma, widened", pack_bfloat16_widened),
        BySize<Int8, kSmallDim8>::kernels("avx512 vnni", pack_integers_avx512<Format::int8>),
        BySize<Int4, kSmallDim4>::kernels("avx512 vnni, unpacked", pack_integers_avx512<Format::int4>),
        BySize<Int2, kSmallDim2>::kernels("avx512 vnni, unpacked", pack_integers_avx512<Format::int2>),
        BySize<Int1, kSmallDim1>::kernels("avx512 vnni, unpacked", pack_integers_avx512<Format::int1>),
        panel_kernels<Distance>("avx512 fma", pack_float32),
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
