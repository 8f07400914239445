// Vectors of 16 floats, for panel-inl.h. Included inside an anonymous namespace.

using Vec = __m512;
TERCET_INLINE Vec vec_set1(float x) { return _mm512_set1_ps(x); }
TERCET_INLINE Vec vec_load(const float* p) { return _mm512_loadu_ps(p); }
TERCET_INLINE void vec_store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
TERCET_INLINE Vec vec_add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
TERCET_INLINE Vec vec_max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
TERCET_INLINE uint32_t vec_ge(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
using Numbers = __m512i;
TERCET_INLINE Numbers numbers_set1(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
TERCET_INLINE Numbers numbers_load(const uint32_t* p) { return _mm512_loadu_si512(p); }
TERCET_INLINE void numbers_store(uint32_t* p, Numbers v) { _mm512_storeu_si512(p, v); }
TERCET_INLINE void keep_greater(Vec& best, Numbers& row, Vec v, Numbers base, int j) {
  const __mmask16 greater = _mm512_cmp_ps_mask(v, best, _CMP_GT_OQ);
  best = _mm512_mask_mov_ps(best, greater, v);
  row = _mm512_mask_add_epi32(row, greater, base, _mm512_set1_epi32(j));
}
TERCET_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
TERCET_INLINE void prefetch_l1(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

TERCET_INLINE __m512i broadcast_group(const uint8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
// One to three bytes, without a call to memcpy: it would empty the vector registers.
TERCET_INLINE int32_t tail_group(const uint8_t* p, size_t bytes) {
  return p[0] | (bytes > 1 ? p[1] << 8 : 0) | (bytes > 2 ? p[2] << 16 : 0);
}

constexpr int kLineGroups = 16, kFewRows = 8;
// Not every level that includes this has kernels for few rows.
[[maybe_unused]] TERCET_NOINLINE void transpose(const uint8_t* rows, size_t stride, size_t bytes,
                                                uint8_t* out) {
  const __mmask64 in = bytes >= 64 ? ~uint64_t{0} : (uint64_t{1} << bytes) - 1;
  __m512i a[16], b[16];
  TERCET_UNROLL for (int i = 0; i < 16; ++i) a[i] = _mm512_maskz_loadu_epi8(in, rows + i * stride);
  // 4 x 4 blocks of words inside 128-bit lanes, then the lanes
  TERCET_UNROLL for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  TERCET_UNROLL for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  TERCET_UNROLL for (int i = 0; i < 4; ++i) {
    b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
    b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
    b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
    b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
  }
  TERCET_UNROLL for (int i = 0; i < 4; ++i) {
    _mm512_store_si512(out + i * 64, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    _mm512_store_si512(out + (i + 8) * 64, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
    _mm512_store_si512(out + (i + 4) * 64, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88));
    _mm512_store_si512(out + (i + 12) * 64, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xdd));
  }
}

// Formats whose scores are the accumulators themselves.
struct Unscaled {
  using Acc = __m512;
  static constexpr int kLanes = 16, kParts = 1;
  template <int RT>
  static constexpr int kTokens = 8;
  template <int NT>
  struct Scales {
    explicit Scales(const uint16_t*) {}
  };
  static TERCET_INLINE Acc start(const Panel&, int) { return _mm512_setzero_ps(); }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S&, int) {
    return acc;
  }
  static TERCET_INLINE Vec scale_rows(Vec score, const Panel&, int) { return score; }
  static TERCET_INLINE Acc start_of(const Panel&, int) { return _mm512_setzero_ps(); }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t*) { return acc; }
  static TERCET_INLINE Vec scale_row(Vec score, const Panel&, int) { return score; }
};
