// Vectors of 16 floats, for panel-inl.h. Included inside an anonymous namespace.

using Vec = __m512;
TERCET_INLINE Vec vec_set1(float x) { return _mm512_set1_ps(x); }
TERCET_INLINE Vec vec_load(const float* p) { return _mm512_loadu_ps(p); }
TERCET_INLINE void vec_store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
TERCET_INLINE Vec vec_add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
TERCET_INLINE Vec vec_max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
TERCET_INLINE uint32_t vec_ge(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
TERCET_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

TERCET_INLINE __m512i broadcast_group(const uint8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
// One to three bytes, without a call to memcpy: it would empty the vector registers.
TERCET_INLINE int32_t tail_group(const uint8_t* p, size_t bytes) {
  return p[0] | (bytes > 1 ? p[1] << 8 : 0) | (bytes > 2 ? p[2] << 16 : 0);
}

// Formats whose scores are the accumulators themselves.
struct Unscaled {
  using Acc = __m512;
  static constexpr int kLanes = 16;
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
};
