// The panel kernel for few query rows: rows in lanes. Included after panel-inl.h, for the same reasons.
//
// With one query a panel wastes all lanes but one, and its broadcasts take more time than the rows take to
// arrive. So here the roles are swapped: kLanes rows are transposed in L1, group by group, and the query's
// groups are broadcast against them. Each lane still adds the products of its row in the order of the
// dimensions, so the scores are those of the panel kernel, bit for bit: which kernel runs depends on the
// batch, what it answers does not.
//
// Transposing costs 4 operations per vector of rows, whatever the number of queries: worth it up to kFewRows.
// Faster ways to score one query (dimensions in lanes) add in another order.
//
// The level provides
//   kLineGroups                        groups that are transposed at a time: a cache line of each row
//   kFewRows                           up to how many query rows that is faster
//   transpose(rows, stride, bytes, out)   kLanes rows' next `bytes`, at most a line, to out[group][kLanes];
//                                      missing bytes are zero
// and a format F
//   spread(p), load_rows(p)            a query's group in all lanes, a group of kLanes transposed rows
//   kParts, part(rows, p)              where a group of a row as stored holds several of a query (widened
//                                      bfloat16: even and odd elements; packed codes: planes): one of them
//   start_of(panel, row)               the accumulator of one query row
//   score_rows(acc, scales)            finished scores of kLanes rows
//   scale_row(score, panel, row)       the query's part of the scale

// Where the panel has what a group of rows is multiplied with, in bytes: the first part of the group, and how
// far the others lie behind each other.
struct PartsOfGroup {
  size_t first, step;
};
template <class F>
TERCET_INLINE PartsOfGroup parts_of_group(size_t group, size_t row_groups) {
  if constexpr (F::kRows == Rows::widened) {
    return {group * F::kPanelGroupBytes, kPanelRows * kGroupBytes};
  } else if constexpr (F::kRows == Rows::unpacked) {
    // planes: code_position() in groups
    constexpr size_t whole = kBlockDims / F::kParts / kGroupBytes;
    const size_t begin = group / whole * whole;
    const size_t plane = row_groups - begin < whole ? row_groups - begin : whole;
    return {(begin * F::kParts + group - begin) * F::kPanelGroupBytes, plane * F::kPanelGroupBytes};
  } else {
    return {group * F::kPanelGroupBytes, 0};
  }
}

// sums[vector][query] += products of groups [first, first + groups) of rows;
// words[vector][kLineGroups][kLanes]. Prefetches half of the V * kLanes rows' next vector from `ahead`. With
// `tail` there is one more group, of which only the first part counts.
template <class F, int Q, int V>
TERCET_NOINLINE void few_products(typename F::Acc* sums, const uint8_t* words, const uint8_t* panel,
                                  size_t first, size_t groups, size_t row_groups, bool tail,
                                  const uint8_t* ahead) {
  constexpr size_t kWord = F::kLanes * kGroupBytes;
  typename F::Acc acc[V][Q];
  TERCET_UNROLL for (int v = 0; v < V; ++v) {
    TERCET_UNROLL for (int i = 0; i < Q; ++i) acc[v][i] = sums[v * Q + i];
  }
  const auto step = [&](size_t g, const PartsOfGroup& parts, int p) TERCET_INLINE_LAMBDA {
    typename F::Query q[Q];
    TERCET_UNROLL for (int i = 0; i < Q; ++i) {
      q[i] = F::spread(panel + parts.first + p * parts.step + i * kGroupBytes);
    }
    TERCET_UNROLL for (int v = 0; v < V; ++v) {
      const uint8_t* const word = words + (v * kLineGroups + g) * kWord;
      const auto rows = [&]() TERCET_INLINE_LAMBDA {
        if constexpr (F::kParts > 1) {
          return F::part(word, p);
        } else {
          return F::load_rows(word);
        }
      }();
      TERCET_UNROLL for (int i = 0; i < Q; ++i) acc[v][i] = F::step(acc[v][i], q[i], rows);
    }
  };
  TERCET_NO_UNROLL for (size_t g = 0; g < groups; ++g) {
    const PartsOfGroup parts = parts_of_group<F>(first + g, row_groups);
    TERCET_UNROLL for (int p = 0; p < F::kParts; ++p) step(g, parts, p);
    TERCET_UNROLL for (int v = 0; v < V / 2; ++v) {
      prefetch(ahead);
      ahead += kWord;
    }
  }
  // Where bfloat16 is widened, the missing half of a pair must not even add zero: it would turn -0 into 0.
  if (tail) step(groups, parts_of_group<F>(first + groups, row_groups), 0);
  TERCET_UNROLL for (int v = 0; v < V; ++v) {
    TERCET_UNROLL for (int i = 0; i < Q; ++i) sums[v * Q + i] = acc[v][i];
  }
}

// V vectors of rows from `first` on against all query rows; `out` gets (row of a vector's first lane, query
// row, scores).
template <class F, int V, class Out>
TERCET_NOINLINE void few_vectors(const Panel& panel, const RowsView& rows, size_t first, Out& out) {
  constexpr size_t kWord = F::kLanes * kGroupBytes, kLine = kLineGroups * kGroupBytes;
  alignas(64) uint8_t words[V * kLineGroups * kWord];
  alignas(64) typename F::Acc sums[kFewRows * V];  // [chunk][vector][query of the chunk]
  const size_t bytes_of_row = row_bytes(rows.format, rows.dim);

  // Query rows in chunks of 4, 2 and 1 (below 16 lanes 2 and 1): as many accumulators as there are registers.
  constexpr int kMost = F::kLanes == 16 ? 4 : 2;
  const auto for_chunks = [&](auto body) TERCET_INLINE_LAMBDA {
    int r = 0;
    for (; r + kMost <= panel.rows; r += kMost) body.template operator()<kMost>(r);
    if (kMost > 2 && r + 2 <= panel.rows) body.template operator()<2>(r), r += 2;
    if (r < panel.rows) body.template operator()<1>(r);
  };
  for_chunks([&]<int Q>(int r) TERCET_INLINE_LAMBDA {
    for (int v = 0; v < V; ++v) {
      for (int i = 0; i < Q; ++i) sums[r * V + v * Q + i] = F::start_of(panel, r + i);
    }
  });
  // While these rows are worked on, as many behind them are prefetched, in order: half of them between
  // transposing, half between the products, because a processor drops prefetches that come in bursts.
  const uint8_t* const end = rows.data + rows.rows * rows.stride;
  const uint8_t* ahead = rows.data + (first + V * F::kLanes) * rows.stride;
  const auto next_ahead = [&](size_t bytes) TERCET_INLINE_LAMBDA {
    const uint8_t* const from = ahead < end ? ahead : rows.data + first * rows.stride;  // in cache already
    ahead += bytes;
    return from;
  };
  for (size_t byte = 0, g = 0; byte < bytes_of_row; byte += kLine, g += kLineGroups) {
    const size_t bytes = bytes_of_row - byte < kLine ? bytes_of_row - byte : kLine;
    const bool short_group = bytes % kGroupBytes != 0;
    for (int v = 0; v < V; ++v) {
      transpose(rows.data + (first + v * F::kLanes) * rows.stride + byte, rows.stride, bytes,
                words + v * kLineGroups * kWord);
      constexpr int kLines = V == 1 ? F::kLanes : F::kLanes / 2;
      const uint8_t* const from = next_ahead(kLines * bytes);
      TERCET_UNROLL for (int i = 0; i < kLines; ++i) prefetch(from + i * bytes);
    }
    const uint8_t* const from = next_ahead(V / 2 * F::kLanes * bytes);
    for_chunks([&]<int Q>(int r) TERCET_INLINE_LAMBDA {
      few_products<F, Q, V>(sums + r * V, words, panel.values + r * kGroupBytes, g, bytes / kGroupBytes,
                            bytes_of_row / kGroupBytes, short_group, from);
    });
  }
  for_chunks([&]<int Q>(int r) TERCET_INLINE_LAMBDA {
    for (int i = 0; i < Q; ++i) {
      for (int v = 0; v < V; ++v) {
        const size_t row = first + v * F::kLanes;
        Vec score = F::score_rows(sums[r * V + v * Q + i], rows.scales ? rows.scales + row : nullptr);
        score = F::scale_row(score, panel, r + i);
        if (rows.bias) score = vec_add(score, vec_load(rows.bias + row));
        out(row, r + i, score);
      }
    }
  });
}

// Rows [first, first + count) by vectors; returns the first row that is left over.
template <class F, class Out>
TERCET_INLINE size_t few_rows(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                              Out& out) {
  const size_t end = first + count;
  for (; first + 4 * F::kLanes <= end; first += 4 * F::kLanes) few_vectors<F, 4>(panel, rows, first, out);
  for (; first + F::kLanes <= end; first += F::kLanes) few_vectors<F, 1>(panel, rows, first, out);
  return first;
}

TERCET_NOINLINE void keep_rows(uint32_t hits, Vec score, size_t row, int query, CandidateSink& sink) {
  alignas(64) float lanes[sizeof(Vec) / sizeof(float)];
  vec_store(lanes, score);
  for (; hits; hits &= hits - 1) {
    const int lane = __builtin_ctz(hits);
    sink.candidates[query][sink.counts[query]++] = {lanes[lane], static_cast<uint32_t>(row) + lane};
  }
}

template <class F>
void dot_any(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* scores) noexcept {
  const size_t begin = first;
  if (panel.rows <= kFewRows && !panel.centroid_scores) {
    auto out = [&](size_t row, int query, Vec score) {
      alignas(64) float lanes[F::kLanes];
      vec_store(lanes, score);
      for (int lane = 0; lane < F::kLanes; ++lane) {
        scores[(row - begin + lane) * kPanelRows + query] = lanes[lane];
      }
    };
    first = few_rows<F>(panel, rows, first, count, out);
  }
  dot<F>(panel, rows, first, begin + count - first, scores + (first - begin) * kPanelRows);
}

template <class F>
void filter_any(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                CandidateSink& sink) noexcept {
  const size_t end = first + count;
  if (panel.rows <= kFewRows && !panel.centroid_scores) {
    auto out = [&](size_t row, int query, Vec score) {
      const uint32_t hits = vec_ge(score, vec_set1(sink.thresholds[query]));
      if (__builtin_expect(hits != 0, 0)) keep_rows(hits, score, row, query, sink);
    };
    first = few_rows<F>(panel, rows, first, count, out);
  }
  filter<F>(panel, rows, first, end - first, sink);
}

template <class F>
constexpr PanelKernels panel_kernels(const char* name, decltype(PanelKernels::pack) pack) {
  return {name, F::kPanelGroupBytes, pack, maxsim<F>, dot_any<F>, filter_any<F>, nearest<F>, peak<F>};
}
