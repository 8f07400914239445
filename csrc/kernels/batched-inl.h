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

template <class F, int RT>
struct FilterOut {
  static constexpr bool kRepeatable = false;
  const Panel* panel;
  int row0;
  const float* bias;
  CandidateSink* sink;
  Vec thresholds[RT];
  template <int NT>
  TERCET_INLINE void operator()(size_t row, const Vec (&tile)[NT][RT]) {
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        Vec v = F::scale_rows(tile[j][r], *panel, row0 + r * F::kLanes);
        if (bias) v = vec_add(v, vec_set1(bias[row + j]));
        const uint32_t hits = vec_ge(v, thresholds[r]);
        if (__builtin_expect(hits != 0, 0)) keep(hits, v, row + j, row0 + r * F::kLanes);
      }
    }
  }
  TERCET_NOINLINE void keep(uint32_t hits, Vec v, size_t row, int query0) {
    alignas(64) float scores[F::kLanes];
    vec_store(scores, v);
    for (; hits; hits &= hits - 1) {
      const int lane = __builtin_ctz(hits), query = query0 + lane;
      sink->candidates[query][sink->counts[query]++] = {scores[lane], static_cast<uint32_t>(row)};
    }
  }
};

template <class F>
void filter(const Panel& panel, const RowsView& rows, size_t first, size_t count,
            CandidateSink& sink) noexcept {
  for_each_stripe<F>(panel, rows, [&]<int RT>(Sweep<F>& sweep) {
    FilterOut<F, RT> out{&panel, sweep.row0, rows.bias, &sink, {}};
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      out.thresholds[r] = vec_load(sink.thresholds + sweep.row0 + r * F::kLanes);
    }
    sweep_rows<F, RT>(sweep, first, count, out);
  });
}

#include "kernels/nearest-inl.h"
