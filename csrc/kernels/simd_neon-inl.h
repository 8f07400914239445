// Vectors of 4 floats, for panel-inl.h. Included inside an anonymous namespace.
//
// Register plan, of 32: 4 vectors of query rows x 4 document rows = 16 accumulators + 4 query + 1 row. 16
// chains cover a latency of 4 on four pipes; with 6 rows gcc 12 spills or moves accumulators about. Rows need
// no broadcast: FMLA and the dot products multiply by one element of a register, so a row's group is loaded
// as a scalar, by the load pipes alone, where LD1R would take a slot of the arithmetic as well. Per group
// that is 8 loads and 16 multiply-adds.

using Vec = float32x4_t;
TERCET_INLINE Vec vec_set1(float x) { return vdupq_n_f32(x); }
TERCET_INLINE Vec vec_load(const float* p) { return vld1q_f32(p); }
TERCET_INLINE void vec_store(float* p, Vec v) { vst1q_f32(p, v); }
TERCET_INLINE Vec vec_add(Vec a, Vec b) { return vaddq_f32(a, b); }
// The number of a number and a NaN, so a maximum that starts at a number stays one; vmaxq gives the NaN.
TERCET_INLINE Vec vec_max(Vec a, Vec b) { return vmaxnmq_f32(a, b); }
TERCET_INLINE uint32_t vec_ge(Vec a, Vec b) {
  const uint32x4_t bits = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), bits));
}
using Numbers = uint32x4_t;
TERCET_INLINE Numbers numbers_set1(uint32_t x) { return vdupq_n_u32(x); }
TERCET_INLINE Numbers numbers_load(const uint32_t* p) { return vld1q_u32(p); }
TERCET_INLINE void numbers_store(uint32_t* p, Numbers v) { vst1q_u32(p, v); }
TERCET_INLINE void keep_greater(Vec& best, Numbers& row, Vec v, Numbers base, int j) {
  const uint32x4_t greater = vcgtq_f32(v, best);
  best = vbslq_f32(greater, v, best);
  row = vbslq_u32(greater, vaddq_u32(base, vdupq_n_u32(static_cast<uint32_t>(j))), row);
}
TERCET_INLINE void prefetch(const uint8_t* p) { __builtin_prefetch(p, 0, 2); }
TERCET_INLINE void prefetch_l1(const uint8_t* p) { __builtin_prefetch(p, 0, 3); }

// Four bytes in the lowest element of a register.
TERCET_INLINE uint64x1_t element(const uint8_t* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return vcreate_u64(word);
}
// One to three bytes; missing ones meet zeros of the packed query.
TERCET_INLINE uint64x1_t tail_element(const uint8_t* p, size_t bytes) {
  return vcreate_u64(p[0] | (bytes > 1 ? uint32_t{p[1]} << 8 : 0) | (bytes > 2 ? uint32_t{p[2]} << 16 : 0));
}

// Four groups of four rows take the panel kernel 16 multiply-adds for up to 4 query rows, and here 8
// operations to transpose and 4 multiply-adds a query row.
constexpr int kLineGroups = 16, kFewRows = 2;
TERCET_NOINLINE void transpose(const uint8_t* rows, size_t stride, size_t bytes, uint8_t* out) {
  alignas(16) uint8_t padded[4][64];
  if (bytes < 64) {
    for (int i = 0; i < 4; ++i) {
      for (size_t k = 0; k < 64; ++k) padded[i][k] = k < bytes ? rows[i * stride + k] : 0;
    }
    rows = padded[0];
    stride = 64;
  }
  TERCET_UNROLL for (int block = 0; block < 4; ++block, rows += 16, out += 64) {
    uint32x4_t a[4];
    uint64x2_t b[4];
    TERCET_UNROLL for (int i = 0; i < 4; ++i) a[i] = vreinterpretq_u32_u8(vld1q_u8(rows + i * stride));
    TERCET_UNROLL for (int i = 0; i < 4; i += 2) {
      b[i] = vreinterpretq_u64_u32(vtrn1q_u32(a[i], a[i + 1]));
      b[i + 1] = vreinterpretq_u64_u32(vtrn2q_u32(a[i], a[i + 1]));
    }
    TERCET_UNROLL for (int i = 0; i < 2; ++i) {
      vst1q_u8(out + i * 16, vreinterpretq_u8_u64(vtrn1q_u64(b[i], b[i + 2])));
      vst1q_u8(out + (i + 2) * 16, vreinterpretq_u8_u64(vtrn2q_u64(b[i], b[i + 2])));
    }
  }
}

// Formats whose products are of bytes, those of rows not negative: what that adds is taken off at the start.
struct Scaled {
  using Acc = int32x4_t;
  using Query = int8x16_t;
  static constexpr int kLanes = 4, kParts = 1;
  static constexpr size_t kElementBytes = 1, kPanelGroupBytes = kPanelRows * 4;
  template <int RT>
  static constexpr int kTokens = RT == 4 ? 4 : 8;

  template <int NT>
  struct Scales {
    float scale[NT];
    TERCET_INLINE explicit Scales(const uint16_t* bits) {
      for (int j = 0; j < NT; ++j) {
        const uint32_t wide = bits ? uint32_t{bits[j]} << 16 : 0x3f800000u;  // 1.0f
        __builtin_memcpy(scale + j, &wide, 4);
      }
      __asm__("" : "+m"(scale));  // in memory until the products are done: they need the registers
    }
  };

  static TERCET_INLINE Acc start(const Panel& panel, int row) { return vld1q_s32(panel.start + row); }
  static TERCET_INLINE Query load_query(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S& s, int j) {
    // plus 0: a scale of 0 scores 0, not -0
    return vfmaq_n_f32(vdupq_n_f32(0), vcvtq_f32_s32(acc), s.scale[j]);
  }
  static TERCET_INLINE Vec scale_rows(Vec score, const Panel& panel, int row) {
    return vmulq_f32(score, vld1q_f32(panel.scales + row));
  }

  static TERCET_INLINE Acc start_of(const Panel& panel, int row) { return vdupq_n_s32(panel.start[row]); }
  static TERCET_INLINE Query spread(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
  }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t* bits) {
    const Vec score = vcvtq_f32_s32(acc);
    return bits ? vfmaq_f32(vdupq_n_f32(0), score, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(bits), 16)))
                : score;
  }
  static TERCET_INLINE Vec scale_row(Vec score, const Panel& panel, int row) {
    return vmulq_n_f32(score, panel.scales[row]);
  }
};
