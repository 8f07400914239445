// Panels of integer queries, packed in vectors of 16 rows. Included inside an anonymous namespace.
//
// A group of a row is 4 bytes, so 64 bytes of 16 rows are a square of 16 by 16 groups, which is transposed in
// registers: 64 shuffles a kilobyte, where copying group by group takes 256 loads and as many stores.
// Centroids are found with panels that are packed for every few of them, where copying was a fifth of the
// time.

// groups[g] holds group g of 16 rows, of what rows[r] held of row r.
TERCET_INLINE void transpose16(const __m512i* rows, __m512i* groups) {
  __m512i pairs[16], fours[16];
  TERCET_UNROLL for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  // fours[i + j]: of rows i to i + 3, the groups 4 l + j in 128-bit lane l
  TERCET_UNROLL for (int i = 0; i < 16; i += 4) {
    TERCET_UNROLL for (int j = 0; j < 2; ++j) {
      fours[i + 2 * j] = _mm512_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
      fours[i + 2 * j + 1] = _mm512_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
    }
  }
  TERCET_UNROLL for (int j = 0; j < 4; ++j) {
    const __m512i low01 = _mm512_shuffle_i32x4(fours[j], fours[j + 4], 0x44);
    const __m512i low23 = _mm512_shuffle_i32x4(fours[j], fours[j + 4], 0xee);
    const __m512i high01 = _mm512_shuffle_i32x4(fours[j + 8], fours[j + 12], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(fours[j + 8], fours[j + 12], 0xee);
    groups[j] = _mm512_shuffle_i32x4(low01, high01, 0x88);
    groups[j + 4] = _mm512_shuffle_i32x4(low01, high01, 0xdd);
    groups[j + 8] = _mm512_shuffle_i32x4(low23, high23, 0x88);
    groups[j + 12] = _mm512_shuffle_i32x4(low23, high23, 0xdd);
  }
}

// As pack_integers (pack.h): the same panel and the same start.
template <Format kFormat>
void pack_integers_avx512(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                          int32_t* start) noexcept {
  constexpr int kRows = 16, kGroups = 16;
  const size_t groups = panel_groups(kFormat, dim);
  const __m512i ones = _mm512_set1_epi8(1);
  for (int first = 0; first < kPanelRows; first += kRows) {
    __m512i sums = _mm512_setzero_si512();
    for (size_t group = 0; group < groups; group += kGroups) {
      const size_t byte = group * kGroupBytes, left = byte < dim ? dim - byte : 0;
      const __mmask64 in = left < 64 ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
      __m512i given[kRows], packed[kGroups];
      TERCET_UNROLL for (int i = 0; i < kRows; ++i) {
        const bool there = first + i < count;
        given[i] = _mm512_maskz_loadu_epi8(there ? in : 0, rows + (there ? (first + i) * stride + byte : 0));
      }
      transpose16(given, packed);
      TERCET_UNROLL for (size_t i = 0; i < kGroups; ++i) {
        sums = _mm512_dpbusd_epi32(sums, ones, packed[i]);
        if (group + i < groups) {
          _mm512_store_si512(panel + ((group + i) * kPanelRows + static_cast<size_t>(first)) * kGroupBytes,
                             packed[i]);
        }
      }
    }
    _mm512_store_si512(start + first, _mm512_mullo_epi32(sums, _mm512_set1_epi32(-excess_of(kFormat))));
  }
}
