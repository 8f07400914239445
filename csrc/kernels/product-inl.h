// MaxSim of product codes: each byte of a code selects a row of a table, 32 query rows wide, and the score is
// the sum of these rows and of that of the centroid. Included by each level after its Vec is defined; in the
// vector types of GCC and Clang, since adding and comparing is all there is to it.
//
// Operations of a token: kProductParts + 1 loads of 64 bytes, as many additions, and a maximum. The table of
// the parts takes 256 KiB: the bytes that L2 delivers are the bound, 1088 for each token.

typedef int16_t Words __attribute__((vector_size(sizeof(Vec)), may_alias));

template <bool kResidual>
TERCET_INLINE void add_token(const int16_t* table, const uint8_t* code, const int16_t* centroid,
                             Words (&sum)[kPanelRows * 2 / sizeof(Words)]) {
  constexpr int kParts = kPanelRows * 2 / sizeof(Words);
  const auto add = [&](const int16_t* row) TERCET_INLINE_LAMBDA {
    TERCET_UNROLL for (int i = 0; i < kParts; ++i) sum[i] += reinterpret_cast<const Words*>(row)[i];
  };
  if constexpr (kResidual) add(centroid);
  TERCET_UNROLL for (uint32_t m = 0; m < kProductParts; ++m) {
    add(table + (m * kProductEntries + code[m]) * size_t{kPanelRows});
  }
}

template <bool kResidual>
TERCET_INLINE void product_texts(const Panel& panel, const RowsView& rows, const TokenSpan* texts,
                                 size_t num_texts, float* best, size_t best_stride) {
  constexpr int kParts = kPanelRows * 2 / sizeof(Words);
  constexpr int16_t kLowest = -32768;
  constexpr size_t kAhead = 16;  // tokens: rows of centroids are read in no order, from L2 or behind it
  const int16_t* const table = reinterpret_cast<const int16_t*>(panel.values);
  const int16_t* const centroids = table + size_t{kProductParts} * kProductEntries * kPanelRows;
  for (size_t i = 0; i < num_texts; ++i) {
    alignas(64) int16_t most[kPanelRows];
    Words largest[kParts];
    TERCET_UNROLL for (int v = 0; v < kParts; ++v) largest[v] = Words{} + kLowest;
    const size_t end = texts[i].begin + texts[i].count;
    for (size_t t = texts[i].begin; t < end; ++t) {
      const int16_t* centroid = nullptr;
      if constexpr (kResidual) {
        centroid = centroids + rows.centroids[t] * size_t{kPanelRows};
        if (t + kAhead < rows.rows) {
          prefetch_l1(
              reinterpret_cast<const uint8_t*>(centroids + rows.centroids[t + kAhead] * size_t{kPanelRows}));
        }
      }
      Words sum[kParts] = {};
      add_token<kResidual>(table, rows.row(t), centroid, sum);
      TERCET_UNROLL for (int v = 0; v < kParts; ++v) largest[v] = sum[v] > largest[v] ? sum[v] : largest[v];
    }
    TERCET_UNROLL for (int v = 0; v < kParts; ++v) reinterpret_cast<Words*>(most)[v] = largest[v];
    float* const out = best + i * best_stride;
    for (int r = 0; r < kPanelRows; ++r) {
      out[r] = texts[i].count ? static_cast<float>(most[r]) * panel.scales[r] : -__builtin_inff();
    }
  }
}

void maxsim_product(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts,
                    float* best, size_t best_stride) noexcept {
  if (rows.centroids) {
    product_texts<true>(panel, rows, texts, num_texts, best, best_stride);
  } else {
    product_texts<false>(panel, rows, texts, num_texts, best, best_stride);
  }
}
