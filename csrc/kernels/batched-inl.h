// Batched dot products from the tiles of panel-inl.h: all of them, or those that reach a threshold. Included
// there.

template <class F, int RT>
struct DotOut {
  static constexpr bool kRepeatable = true;
  const Panel* panel;
  int row0;
  const float* bias;
  float* scores;  // of row 0
  template <int NT>
  TERCET_INLINE void operator()(size_t row, const Vec (&tile)[NT][RT]) {
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        Vec v = F::scale_rows(tile[j][r], *panel, row0 + r * F::kLanes);
        if (bias) v = vec_add(v, vec_set1(bias[row + j]));
        vec_store(scores + (row + j) * kPanelRows + row0 + r * F::kLanes, v);
      }
    }
  }
};

template <class F>
void dot(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* scores) noexcept {
  for_each_stripe<F>(panel, rows, [&]<int RT>(Sweep<F>& sweep) {
    DotOut<F, RT> out{&panel, sweep.row0, rows.bias, scores - first * kPanelRows};
    sweep_rows<F, RT>(sweep, first, count, out);
  });
}

TERCET_NOINLINE void keep(uint32_t hits, const float* scores, size_t row, int query, CandidateSink& sink) {
  for (; hits; hits &= hits - 1) {
    const int lane = __builtin_ctz(hits);
    sink.candidates[query + lane][sink.counts[query + lane]++] = {scores[lane], static_cast<uint32_t>(row)};
  }
}

// Scores wait in L1 and are compared piece by piece; `dot` makes them. A branch at the end of a tile would be
// as seldom taken, but each time it is, the processor throws away what it has begun of the next tile: 100
// cycles and more.
template <class F, class Dot>
TERCET_INLINE void filter_pieces(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                                 CandidateSink& sink, Dot dot) {
  constexpr size_t kPiece = 64;
  alignas(64) float scores[kPiece * kPanelRows];
  const size_t end = first + count;
  for (size_t piece = first; piece < end; piece += kPiece) {
    const size_t n = end - piece < kPiece ? end - piece : kPiece;
    dot(panel, rows, piece, n, scores);
    for (int query = 0; query < panel.rows; query += F::kLanes) {
      const Vec threshold = vec_load(sink.thresholds + query);
      for (size_t i = 0; i < n; ++i) {
        const float* const own = scores + i * kPanelRows + query;
        const uint32_t hits = vec_ge(vec_load(own), threshold);
        if (__builtin_expect(hits != 0, 0)) keep(hits, own, piece + i, query, sink);
      }
    }
  }
}

template <class F>
void filter(const Panel& panel, const RowsView& rows, size_t first, size_t count,
            CandidateSink& sink) noexcept {
  filter_pieces<F>(panel, rows, first, count, sink, dot<F>);
}
