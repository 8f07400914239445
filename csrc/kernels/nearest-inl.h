// The nearest row of each query row, with the panel kernel. Included by panel-inl.h.
//
// The level provides Numbers (kLanes uint32): numbers_set1, numbers_load, numbers_store; and
// keep_greater(best, row, v, base, j), which puts v and base + j where v > best.

// Row after row against the best so far, a chain: a NaN replaces nothing, wherever it stands.
template <class F, int RT>
struct NearestOut {
  static constexpr bool kRepeatable = true;  // a row does not score above itself
  const Panel* panel;
  int row0;
  const float* bias;
  Vec best[RT];
  Numbers row[RT];
  template <int NT>
  TERCET_INLINE void operator()(size_t first, const Vec (&tile)[NT][RT]) {
    const Numbers base = numbers_set1(static_cast<uint32_t>(first));
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        Vec v = F::scale_rows(tile[j][r], *panel, row0 + r * F::kLanes);
        if (bias) v = vec_add(v, vec_set1(bias[first + j]));
        keep_greater(best[r], row[r], v, base, j);
      }
    }
  }
};

template <class F>
void nearest(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
             uint32_t* row) noexcept {
  for_each_stripe<F>(panel, rows, [&]<int RT>(Sweep<F>& sweep) {
    NearestOut<F, RT> out{&panel, sweep.row0, rows.bias, {}, {}};
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      out.best[r] = vec_load(best + sweep.row0 + r * F::kLanes);
      out.row[r] = numbers_load(row + sweep.row0 + r * F::kLanes);
    }
    sweep_rows<F, RT>(sweep, first, count, out);
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      vec_store(best + sweep.row0 + r * F::kLanes, out.best[r]);
      numbers_store(row + sweep.row0 + r * F::kLanes, out.row[r]);
    }
  });
}
