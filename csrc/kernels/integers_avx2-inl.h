// Integer formats in vectors of 8 query rows. Included inside an anonymous namespace, after panel-inl.h.

// Bytes are widened to 16 bits, the even and the odd ones of each group apart, since VPMADDUBSW saturates.
// Widening is shared by all rows of a tile; a product costs two VPMADDWD and two additions, no more than
// making VPMADDUBSW safe would, and is exact for all values.
struct Int8 {
  using Acc = __m256i;
  struct Query {
    __m256i even, odd;
  };
  using Broadcast = Query;
  static constexpr int kLanes = 8, kParts = 1;
  static constexpr size_t kElementBytes = 1, kPanelGroupBytes = kPanelRows * 4;
  static constexpr Rows kRows = Rows::stored;
  template <int RT>
  static constexpr int kTokens = RT == 1 ? 6 : 4;

  template <int NT>
  struct Scales {
    float scale[NT];
    TERCET_INLINE explicit Scales(const uint16_t* bits) {
      for (int j = 0; j < NT; ++j) {
        const uint32_t wide = bits ? uint32_t{bits[j]} << 16 : 0x3f800000u;  // 1.0f
        __builtin_memcpy(scale + j, &wide, 4);
      }
    }
  };

  // The products are of signed values, so excess-128 adds nothing.
  static TERCET_INLINE Acc start(const Panel&, int) { return _mm256_setzero_si256(); }
  static TERCET_INLINE Query widen(__m256i bytes) {
    return {_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
  }
  static TERCET_INLINE Query load_query(const uint8_t* p) {
    return widen(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static TERCET_INLINE Broadcast signed_bytes(int32_t word) {
    return widen(_mm256_set1_epi32(word ^ static_cast<int>(0x80808080u)));
  }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return signed_bytes(word);
  }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t bytes) {
    // a missing byte meets a zero of the packed query
    return signed_bytes(p[0] | (bytes > 1 ? p[1] << 8 : 0) | (bytes > 2 ? p[2] << 16 : 0));
  }
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) {
    return _mm256_add_epi32(_mm256_add_epi32(acc, _mm256_madd_epi16(q.even, b.even)),
                            _mm256_madd_epi16(q.odd, b.odd));
  }
  template <class S>
  static TERCET_INLINE Vec score(Acc acc, const S& s, int j) {
    // plus 0: a scale of 0 scores 0, not -0
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_set1_ps(s.scale[j]), _mm256_setzero_ps());
  }
  static TERCET_INLINE Vec scale_rows(Vec score, const Panel& panel, int row) {
    return _mm256_mul_ps(score, _mm256_load_ps(panel.scales + row));
  }

  static TERCET_INLINE Query spread(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return widen(_mm256_set1_epi32(word));
  }
  static TERCET_INLINE Broadcast load_rows(const uint8_t* p) {
    return widen(_mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)),
                                  _mm256_set1_epi8(static_cast<char>(0x80))));
  }
  static TERCET_INLINE Acc start_of(const Panel&, int) { return _mm256_setzero_si256(); }
  static TERCET_INLINE Vec score_rows(Acc acc, const uint16_t* bits) {
    __m256 scale = _mm256_set1_ps(1.0f);
    if (bits) {
      const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bits)));
      scale = _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), scale, _mm256_setzero_ps());
  }
  static TERCET_INLINE Vec scale_row(Vec score, const Panel& panel, int row) {
    return _mm256_mul_ps(score, _mm256_set1_ps(panel.scales[row]));
  }
};

// Packed codes: twice the code is multiplied, what that is too much is in the start. At most 30, it lets
// VPMADDUBSW add two products in 16 bits: 2 * 30 * 128 < 2^15.
template <int kBits>
struct Packed : Int8 {
  using Query = __m256i;
  using Broadcast = __m256i;
  static constexpr Rows kRows = Rows::unpacked;
  static constexpr int kParts = 8 / kBits;
  static constexpr bool kHasChunks = false;
  static constexpr int kMask = ((1 << kBits) - 1) * 2;

  static TERCET_INLINE Acc start(const Panel& panel, int row) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(panel.start + row));
  }
  static TERCET_INLINE Query load_query(const uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
  }
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) {
    const __m256i pairs = _mm256_maddubs_epi16(b, q);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static TERCET_INLINE Query spread(const uint8_t* p) { return broadcast(p); }
  static TERCET_INLINE Acc start_of(const Panel& panel, int row) {
    return _mm256_set1_epi32(panel.start[row]);
  }

  // Bytes of which the wanted code is in the lowest bits, to twice that code.
  static TERCET_INLINE __m256i doubled(__m256i bytes) {
    return _mm256_and_si256(_mm256_add_epi8(bytes, bytes), _mm256_set1_epi8(kMask));
  }
  static TERCET_INLINE Broadcast part(const uint8_t* words, int p) {
    const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
    return doubled(_mm256_srli_epi32(bytes, p * kBits));
  }

  // `groups` groups from the beginning of a block. May write 31 bytes more.
  static TERCET_INLINE void unpack(const uint8_t* block, size_t groups, uint8_t* out) {
    constexpr size_t kBytes = kBlockDims * kBits / 8;
    const size_t bytes = (groups * kGroupBytes * kBits + 31) / 32 * 4, plane = bytes % kBytes;
    const uint8_t* const end = block + (bytes - plane);
    TERCET_NO_UNROLL for (; block != end; block += kBytes, out += kBlockDims) {
      TERCET_UNROLL for (int half = 0; half < 2; ++half) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out) + half, half_block(block, half));
      }
    }
    if (plane == 0) return;
    for (int p = 0; p < kParts; ++p) {
      for (size_t i = 0; i < plane; ++i) *out++ = static_cast<uint8_t>(2 * (block[i] >> p * kBits) & kMask);
    }
  }
  // The first or the last 32 dimensions of a block.
  static TERCET_INLINE __m256i half_block(const uint8_t* p, int half) {
    constexpr int b = kBits;
    const int s = half * kParts / 2 * b;
    if constexpr (kBits == 4) {
      return doubled(_mm256_srli_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), s));
    } else if constexpr (kBits == 2) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      return doubled(
          _mm256_srlv_epi64(_mm256_broadcastsi128_si256(bytes), _mm256_set_epi64x(s + b, s + b, s, s)));
    } else {
      int64_t word;
      __builtin_memcpy(&word, p, 8);
      return doubled(
          _mm256_srlv_epi64(_mm256_set1_epi64x(word), _mm256_set_epi64x(s + 3 * b, s + 2 * b, s + b, s)));
    }
  }
};
