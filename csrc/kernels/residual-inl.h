// Rows that are residuals: their scores are finished by those of their centroids. Included by panel-inl.h.

// Hands scores of residuals on with those of their centroids added. A type of its own, since a branch in
// tiles() would cost all others 3 %.
template <class F, int RT, class Out>
struct CentroidsOut {
  static constexpr bool kRepeatable = Out::kRepeatable;
  Out out;
  const float* table;  // from the first query row of the accumulators
  const uint16_t* ids;
  size_t rows;
  template <int NT>
  TERCET_INLINE void operator()(size_t row, Vec (&scores)[NT][RT]) {
    // The table is larger than L1, often than L2, and its rows are read in no order.
    constexpr size_t kAhead = 16;
    if (row + kAhead + NT <= rows) {
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        const float* const next = table + ids[row + kAhead + j] * size_t{kPanelRows};
        TERCET_UNROLL for (int r = 0; r < RT; ++r) {
          prefetch_l1(reinterpret_cast<const uint8_t*>(next + r * F::kLanes));
        }
      }
    }
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      const float* const own = table + ids[row + j] * size_t{kPanelRows};
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        scores[j][r] = vec_add(scores[j][r], vec_load(own + r * F::kLanes));
      }
    }
    out(row, scores);
  }
};
