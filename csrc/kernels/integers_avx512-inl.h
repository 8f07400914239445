// Integer formats in vectors of 16 query rows: their products where VNNI makes them, their scores at every
// level that has AVX-512. Included inside an anonymous namespace, after panel-inl.h.

// Scores of at most 2^22 in magnitude (those of few dimensions, see the end of this file) need no conversion:
// started from the bits of 1.5 * 2^23, the integer accumulator is the float 1.5 * 2^23 + score, and one fused
// multiply-add takes the offset out and scales. It rounds once, as converting and multiplying does: score *
// scale.
template <bool kSmall>
struct Int8 {
  using Acc = __m512i;
  using Query = __m512i;
  using Broadcast = __m512i;
  static constexpr int kLanes = 16, kParts = 1;
  static constexpr size_t kElementBytes = 1, kPanelGroupBytes = kPanelRows * 4;
  static constexpr Rows kRows = Rows::stored;
  static constexpr float kOffset = 12582912.0f;
  static constexpr int32_t kOffsetBits = 0x4b400000;
  template <int RT>
  static constexpr int kTokens = 8;

  // bfloat16 scales of NT rows, 1 where there are none.
  template <int NT>
  static TERCET_INLINE __m512 scales_of(const uint16_t* bits) {
    if (!bits) return _mm512_set1_ps(1.0f);
    const __m256i raw = _mm256_maskz_loadu_epi16((1u << NT) - 1, bits);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }

  template <int NT>
  struct Scales {
    alignas(64) float scale[16];
    alignas(64) float offset[16];  // -kOffset * scale: exact, scale has 8 bits of precision
    TERCET_INLINE explicit Scales(const uint16_t* bits) {
      const __m512 s = scales_of<NT>(bits);
      _mm512_store_ps(scale, s);
      if (kSmall) _mm512_store_ps(offset, _mm512_mul_ps(s, _mm512_set1_ps(-kOffset)));
      // Broadcasting from memory costs a load; seeing through the array, the compiler would permute registers
      // on the ports that multiply.
      __asm__("" : "+m"(scale), "+m"(offset));
    }
  };

  static TERCET_INLINE Acc start(const Panel& panel, int row) {
    const __m512i excess = _mm512_load_si512(panel.start + row);
    return kSmall ? _mm512_add_epi32(excess, _mm512_set1_epi32(kOffsetBits)) : excess;
  }
  static TERCET_INLINE Query load_query(const uint8_t* p) { return _mm512_load_si512(p); }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return broadcast_group(p); }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t bytes) {
    return _mm512_set1_epi32(tail_group(p, bytes));
  }
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) { return _mm512_dpbusd_epi32(acc, b, q); }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S& s, int j) {
    if constexpr (kSmall) {
      return _mm512_fmadd_ps(_mm512_castsi512_ps(acc), _mm512_set1_ps(s.scale[j]),
                             _mm512_set1_ps(s.offset[j]));
    } else {
      // plus 0: a scale of 0 scores 0, not -0
      return _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), _mm512_set1_ps(s.scale[j]), _mm512_setzero_ps());
    }
  }
  static TERCET_INLINE Vec scale_rows(Vec score, const Panel& panel, int row) {
    return _mm512_mul_ps(score, _mm512_load_ps(panel.scales + row));
  }

  static TERCET_INLINE Query spread(const uint8_t* p) { return broadcast_group(p); }
  static TERCET_INLINE Broadcast load_rows(const uint8_t* p) { return _mm512_load_si512(p); }
  static TERCET_INLINE Acc start_of(const Panel& panel, int row) {
    return _mm512_set1_epi32(panel.start[row] + (kSmall ? kOffsetBits : 0));
  }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t* bits) {
    const __m512 s = scales_of<16>(bits);
    if constexpr (kSmall) {
      return _mm512_fmadd_ps(_mm512_castsi512_ps(acc), s, _mm512_mul_ps(s, _mm512_set1_ps(-kOffset)));
    } else {
      return _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), s, _mm512_setzero_ps());
    }
  }
  static TERCET_INLINE Vec scale_row(Vec score, const Panel& panel, int row) {
    return _mm512_mul_ps(score, _mm512_set1_ps(panel.scales[row]));
  }
};

// Packed codes: twice the code is multiplied, what that is too much is in the start.
template <int kBits, bool kSmall>
struct Packed : Int8<kSmall> {
  static constexpr Rows kRows = Rows::unpacked;
  static constexpr Format kFormat = kBits == 4 ? Format::int4 : kBits == 2 ? Format::int2 : Format::int1;
  static constexpr int kParts = 8 / kBits;
  static constexpr bool kHasChunks = true;
  static constexpr char kMask = ((1 << kBits) - 1) * 2;

  static TERCET_INLINE __m512i part(const uint8_t* words, int p) {
    const __m512i bytes = _mm512_load_si512(words);
    const __m512i shifted = p ? _mm512_srli_epi32(bytes, p * kBits - 1) : _mm512_add_epi8(bytes, bytes);
    return _mm512_and_si512(shifted, _mm512_set1_epi8(kMask));
  }

  static TERCET_INLINE void unpack_block(const uint8_t* block, uint8_t* out) {
    _mm512_storeu_si512(out, planes(load_block(block)));
  }
  // `groups` groups from the beginning of a block. May write 63 bytes more.
  static TERCET_INLINE void unpack(const uint8_t* block, size_t groups, uint8_t* out) {
    constexpr size_t kBytes = kBlockDims * kBits / 8;
    const size_t bytes = (groups * kGroupBytes * kBits + 31) / 32 * 4, plane = bytes % kBytes;
    const uint8_t* const end = block + (bytes - plane);
    TERCET_NO_UNROLL for (; block != end; block += kBytes, out += kBlockDims) { unpack_block(block, out); }
    if (plane == 0) return;
    const __m256i rest = _mm256_maskz_loadu_epi8(static_cast<__mmask32>((1u << plane) - 1), block);
    const __m512i lanes = planes(spread_block(rest));
    const auto store = [&](auto lane) TERCET_INLINE_LAMBDA {
      __builtin_memcpy(out, &lane, sizeof(lane));  // what is too much, the next one overwrites
      out += plane;
    };
    if constexpr (kBits == 4) {
      store(_mm512_castsi512_si256(lanes));
      store(_mm512_extracti64x4_epi64(lanes, 1));
    } else if constexpr (kBits == 2) {
      store(_mm512_castsi512_si128(lanes));
      store(_mm512_extracti32x4_epi32(lanes, 1));
      store(_mm512_extracti32x4_epi32(lanes, 2));
      store(_mm512_extracti32x4_epi32(lanes, 3));
    } else {
      store(_mm512_cvtepi64_epi32(lanes));  // planes of 4 bytes
    }
  }
  static TERCET_INLINE void unpack_chunk(const Chunk& chunk, const uint8_t* rows, uint8_t* out) {
    const auto mask = static_cast<__mmask16>((1u << chunk.words) - 1);
    const __m512i words = _mm512_permutexvar_epi32(_mm512_load_si512(chunk.word),
                                                   _mm512_maskz_loadu_epi32(mask, rows + chunk.offset));
    const __m512i by = _mm512_load_si512(chunk.by);
    _mm512_store_si512(out, _mm512_and_si512(_mm512_rorv_epi32(words, by), _mm512_set1_epi8(kMask)));
  }
  // The bytes of a block, once for every plane.
  static TERCET_INLINE __m512i spread_block(__m256i bytes) {
    if constexpr (kBits == 4) return _mm512_broadcast_i64x4(bytes);
    if constexpr (kBits == 2) return _mm512_broadcast_i32x4(_mm256_castsi256_si128(bytes));
    return _mm512_broadcastq_epi64(_mm256_castsi256_si128(bytes));
  }
  static TERCET_INLINE __m512i load_block(const uint8_t* p) {
    if constexpr (kBits == 4) {
      return spread_block(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    } else if constexpr (kBits == 2) {
      return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    } else {
      int64_t word;
      __builtin_memcpy(&word, p, 8);
      return _mm512_set1_epi64(word);
    }
  }
  // Every plane shifted to where twice its codes are; rotated, since the lowest has to go up.
  static TERCET_INLINE __m512i planes(__m512i bytes) {
    __m512i by;
    if constexpr (kBits == 4) {
      by = _mm512_set_epi64(3, 3, 3, 3, 63, 63, 63, 63);
    } else if constexpr (kBits == 2) {
      by = _mm512_set_epi64(5, 5, 3, 3, 1, 1, 63, 63);
    } else {
      by = _mm512_set_epi64(6, 5, 4, 3, 2, 1, 0, 63);
    }
    return _mm512_and_si512(_mm512_rorv_epi64(bytes, by), _mm512_set1_epi8(kMask));
  }
};

template <bool kSmall>
using Int4 = Packed<4, kSmall>;
template <bool kSmall>
using Int2 = Packed<2, kSmall>;
template <bool kSmall>
using Int1 = Packed<1, kSmall>;

// Up to how many dimensions scores are that small: a code is at most 128, 15, 3 or 1, what it meets 128.
constexpr uint32_t kSmallDim8 = 256, kSmallDim4 = 2048, kSmallDim2 = 8192, kSmallDim1 = 16384;
