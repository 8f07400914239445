// The panel kernel, once for all SIMD levels and formats. Each level's file includes this inside its own
// anonymous namespace, after defining how its vectors work: everything here has internal linkage, so the
// linker can never pick a copy compiled for another level (the ODR trap of shared inline code).
//
// A format F of a level provides
//   Acc, kLanes                     accumulator of kLanes query rows
//   kTokens<RT>                     document rows in flight for RT accumulators each: RT * kTokens + RT + 1
//                                   registers must fit, and at least 8 accumulators hide the FMA latency
//   start(panel, row)               the accumulator before the first product
//   load_query(p), step(acc, q, b)  one group of a panel, one multiply-add
//   broadcast(p), broadcast_tail(p, bytes)   four document bytes, or the last few
//   Scales<NT>                      the row scales of a tile; score(acc, scales, j) the finished score
//   kWidened                        bfloat16 without bfloat16 instructions: a tile of rows is widened to
//                                   float32 in L1 first, which costs 1 operation per 32 (broadcasting pairs
//                                   and shifting them apart would cost 1 per 4)
//   scale_rows(score, panel, row)   the query's part of the scale
// and the level provides Vec (kLanes floats): vec_set1, vec_load, vec_store, vec_add, vec_mul, vec_max,
// vec_ge, and prefetch.

// The panel is walked in blocks that stay in half of a 32 KiB L1 cache beside the document rows.
constexpr size_t kPanelBlockBytes = 20480;
// Rows whose partial accumulators wait in L1 while the blocks of the panel take their turns.
constexpr size_t kPartialRows = 24;
// Software prefetch runs this far ahead of the row being read, into L2: L1 is full of panel and rows. The
// hardware prefetchers do not follow the interleaved rows of a tile; without this, rows from memory score at
// 0.6 of the speed.
constexpr size_t kPrefetchBytes = 32768;

// One tile: NT document rows times RT accumulators of kLanes query rows, over `groups` groups. A group
// consumes 4 NT bytes of the rows, at most a cache line: one prefetch each keeps pace.
//
// Every third row has a pointer of its own, those between are reached as pointer + stride and + 2 stride:
// that is what an x86 address can say, and with a pointer or an offset for each row the general registers run
// out. The empty asm hides from the compiler that the pointers are related.
template <class F, int RT, int NT>
TERCET_INLINE void accumulate(typename F::Acc (&acc)[NT][RT], const uint8_t* panel, const uint8_t* rows,
                              size_t stride, size_t groups, const uint8_t* ahead) {
  constexpr int kBases = (NT + 2) / 3;
  constexpr size_t kStep = kPanelRows * kGroupBytes;
  const uint8_t* base[kBases];
  TERCET_UNROLL for (int i = 0; i < kBases; ++i) {
    base[i] = rows + 3 * i * stride;
    __asm__("" : "+r"(base[i]));
  }
  const auto group = [&](size_t g) TERCET_INLINE_LAMBDA {
    typename F::Query q[RT];
    TERCET_UNROLL for (int r = 0; r < RT; ++r) q[r] =
        F::load_query(panel + g * kStep + r * F::kLanes * kGroupBytes);
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      const typename F::Broadcast b = F::broadcast(base[j / 3] + (j % 3) * stride + g * kGroupBytes);
      TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = F::step(acc[j][r], q[r], b);
    }
    prefetch(ahead + g * kGroupBytes * NT);
  };
  const uint8_t* const end = panel + groups / 2 * 2 * kStep;
  TERCET_NO_UNROLL while (panel != end) {
    group(0);
    group(1);
    panel += 2 * kStep;
    TERCET_UNROLL for (int i = 0; i < kBases; ++i) base[i] += 2 * kGroupBytes;
    ahead += 2 * kGroupBytes * NT;
  }
  if (groups % 2) group(0);
}

// The last group of a row whose length is no multiple of four bytes.
template <class F, int RT, int NT>
TERCET_INLINE void accumulate_tail(typename F::Acc (&acc)[NT][RT], const uint8_t* panel, const uint8_t* rows,
                                   size_t stride, size_t bytes) {
  TERCET_UNROLL for (int j = 0; j < NT; ++j) {
    const typename F::Broadcast b = F::broadcast_tail(rows + j * stride, bytes);
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      acc[j][r] = F::step(acc[j][r], F::load_query(panel + r * F::kLanes * kGroupBytes), b);
    }
  }
}

// The same for bfloat16 rows, widened in L1 first: each row becomes its even elements, then its odd ones.
template <class F, int RT, int NT>
TERCET_INLINE void accumulate_widened(typename F::Acc (&acc)[NT][RT], const uint8_t* panel,
                                      const uint8_t* rows, size_t stride, size_t groups, size_t tail,
                                      const uint8_t* ahead) {
  constexpr size_t kHalf = kPanelBlockBytes / F::kPanelGroupBytes + 16;
  alignas(64) float wide[NT][2][kHalf];
  TERCET_NO_UNROLL for (int j = 0; j < NT; ++j)
      F::widen(rows + j * stride, groups, tail, wide[j][0], wide[j][1]);
  const auto elements = [&](size_t g, int odd) TERCET_INLINE_LAMBDA {
    typename F::Query q[RT];
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      q[r] = F::load_query(panel + g * F::kPanelGroupBytes + (odd * kPanelRows + r * F::kLanes) * 4);
    }
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      const typename F::Broadcast b = F::broadcast(reinterpret_cast<const uint8_t*>(&wide[j][odd][g]));
      TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = F::step(acc[j][r], q[r], b);
    }
  };
  TERCET_NO_UNROLL for (size_t g = 0; g < groups; ++g) {
    elements(g, 0);
    elements(g, 1);
    prefetch(ahead + g * kGroupBytes * NT);
  }
  if (tail) elements(groups, 0);  // adding a product of zeros would turn -0 into 0
}

// What stays the same for all tiles of a call.
template <class F>
struct Sweep {
  const Panel& panel;
  const RowsView& rows;
  int row0;            // first query row of the accumulators
  size_t groups;       // whole groups of a row
  size_t tail;         // bytes behind them
  size_t block;        // groups of a panel block
  const uint8_t* end;  // of the rows: prefetching unmapped pages costs page walks
};

// `num_tiles` tiles of NT rows from `row` on: the only or the last block of the panel ends in `out`, the
// others in `partial`. Not inlined: in one large function with its siblings the accumulators lose their
// registers.
template <class F, int RT, int NT, class Out>
TERCET_NOINLINE void tiles(const Sweep<F>& s, size_t row, size_t num_tiles, size_t g0, size_t g1,
                           typename F::Acc* partial, const uint8_t* ahead, Out& out_ref) {
  Out out = out_ref;  // its vectors stay in registers
  const size_t stride = s.rows.stride, groups = g1 - g0, tail = g1 == s.groups ? s.tail : 0;
  const uint8_t* const panel = s.panel.values + g0 * F::kPanelGroupBytes + s.row0 * kGroupBytes;
  const uint8_t* rows = s.rows.data + row * stride + g0 * kGroupBytes;
  typename F::Acc start[RT];
  TERCET_UNROLL for (int r = 0; r < RT; ++r) start[r] = F::start(s.panel, s.row0 + r * F::kLanes);
  TERCET_NO_UNROLL for (const size_t end = row + num_tiles * NT; row < end; row += NT) {
    typename F::Acc acc[NT][RT];
    if (g0 == 0) {
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = start[r];
      }
    } else {
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = partial[j * RT + r];
      }
    }
    if (ahead >= s.end) ahead = rows;  // what is in cache already
    if constexpr (F::kWidened) {
      accumulate_widened<F, RT, NT>(acc, panel, rows, stride, groups, tail, ahead);
    } else {
      accumulate<F, RT, NT>(acc, panel, rows, stride, groups, ahead);
      if (tail) {
        accumulate_tail<F, RT, NT>(acc, panel + groups * F::kPanelGroupBytes, rows + groups * kGroupBytes,
                                   stride, tail);
      }
    }
    rows += NT * stride;
    ahead += groups * kGroupBytes * NT;
    if (g1 < s.groups) {
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) partial[j * RT + r] = acc[j][r];
      }
    } else {
      const typename F::template Scales<NT> scales(s.rows.scales ? s.rows.scales + row : nullptr);
      Vec scores[NT][RT];
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) scores[j][r] = F::score(acc[j][r], scales, j);
      }
      out(row, scores);
    }
    partial += NT * RT;
  }
  out_ref = out;
}

// Rows in tiles of NT, what is left over in tiles of half the size, and half of that: an instance for every
// count would spare about 3 % on texts of 50 tokens and double the code.
template <class F, int RT, int NT, class Out>
TERCET_INLINE void tiles_of(const Sweep<F>& s, size_t count, size_t row, size_t g0, size_t g1,
                            typename F::Acc* partial, const uint8_t* ahead, Out& out) {
  if constexpr (NT > 0) {
    const size_t whole = count / NT;
    if (whole) {
      tiles<F, RT, NT>(s, row, whole, g0, g1, partial, ahead, out);
      ahead += (g1 - g0) * kGroupBytes * NT * whole;
    }
    tiles_of<F, RT, NT / 2>(s, count % NT, row + whole * NT, g0, g1, partial + whole * NT * RT, ahead, out);
  }
}

// Rows [first, first + count), each handed to `out` once, in order.
template <class F, int RT, class Out>
TERCET_INLINE void sweep_rows(const Sweep<F>& s, size_t first, size_t count, Out& out) {
  alignas(64) typename F::Acc partial[kPartialRows * RT];
  // A panel of one block needs no partial sums, and all rows can be swept at once.
  const size_t step = s.block >= s.groups ? count : kPartialRows;
  for (size_t begin = first; begin < first + count; begin += step) {
    const size_t end = begin + step < first + count ? begin + step : first + count;
    const uint8_t* ahead = s.rows.data + begin * s.rows.stride + kPrefetchBytes;
    size_t g0 = 0;
    do {  // also once when a row is shorter than a group
      const size_t g1 = g0 + s.block < s.groups ? g0 + s.block : s.groups;
      tiles_of<F, RT, F::template kTokens<RT>>(s, end - begin, begin, g0, g1, partial, ahead, out);
      ahead += (g1 - g0) * kGroupBytes * (end - begin);
      g0 = g1;
    } while (g0 < s.groups);
  }
}

// Calls body(sweep, RT) for each stripe of query rows that one set of accumulators covers.
template <class F, class Body>
TERCET_INLINE void for_each_stripe(const Panel& panel, const RowsView& rows, Body body) {
  constexpr int kStripe = 2 * F::kLanes;
  const size_t row_bytes = rows.dim * F::kElementBytes;
  const size_t groups = row_bytes / kGroupBytes;
  const size_t blocks = (groups * F::kPanelGroupBytes + kPanelBlockBytes - 1) / kPanelBlockBytes;
  const size_t block = blocks <= 1 ? groups : (groups + blocks - 1) / blocks;
  for (int row0 = 0; row0 < panel.rows; row0 += kStripe) {
    const Sweep<F> sweep{
        panel, rows, row0, groups, row_bytes % kGroupBytes, block, rows.data + rows.rows * rows.stride};
    if (panel.rows - row0 > F::kLanes) {
      body.template operator()<2>(sweep);
    } else {
      body.template operator()<1>(sweep);
    }
  }
}

template <int RT>
struct MaxOut {
  Vec best[RT];
  // A tree, since a chain of NT dependent maxima would outlast the next tile's start.
  template <int NT>
  TERCET_INLINE void operator()(size_t, Vec (&scores)[NT][RT]) {
    TERCET_UNROLL for (int width = 1; width < NT; width *= 2) {
      TERCET_UNROLL for (int j = 0; j + width < NT; j += 2 * width) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) scores[j][r] = vec_max(scores[j][r], scores[j + width][r]);
      }
    }
    TERCET_UNROLL for (int r = 0; r < RT; ++r) best[r] = vec_max(scores[0][r], best[r]);
  }
};

template <class F>
void maxsim(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts, float* best,
            size_t best_stride) noexcept {
  for_each_stripe<F>(panel, rows, [&]<int RT>(const Sweep<F>& sweep) {
    for (size_t i = 0; i < num_texts; ++i) {
      MaxOut<RT> out;
      TERCET_UNROLL for (int r = 0; r < RT; ++r) out.best[r] = vec_set1(-__builtin_inff());
      sweep_rows<F, RT>(sweep, texts[i].begin, texts[i].count, out);
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        const int row = sweep.row0 + r * F::kLanes;
        vec_store(best + i * best_stride + row, F::scale_rows(out.best[r], panel, row));
      }
    }
  });
}

template <class F, int RT>
struct DotOut {
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
  for_each_stripe<F>(panel, rows, [&]<int RT>(const Sweep<F>& sweep) {
    DotOut<F, RT> out{&panel, sweep.row0, rows.bias, scores - first * kPanelRows};
    sweep_rows<F, RT>(sweep, first, count, out);
  });
}

template <class F, int RT>
struct FilterOut {
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
  for_each_stripe<F>(panel, rows, [&]<int RT>(const Sweep<F>& sweep) {
    FilterOut<F, RT> out{&panel, sweep.row0, rows.bias, &sink, {}};
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      out.thresholds[r] = vec_load(sink.thresholds + sweep.row0 + r * F::kLanes);
    }
    sweep_rows<F, RT>(sweep, first, count, out);
  });
}

template <class Vector>
TERCET_INLINE void opaque(Vector& v) {
  if constexpr (requires { v.even; }) {
    __asm__ volatile("" : "+v"(v.even), "+v"(v.odd));
  } else {
    __asm__ volatile("" : "+v"(v));
  }
}

template <class F>
size_t peak(size_t rounds) noexcept {
  constexpr int kChains = F::kLanes == 16 ? 20 : 10;  // accumulators beside what a step needs
  alignas(64) const uint8_t zeros[kPanelRows * kGroupBytes] = {};
  typename F::Acc acc[kChains] = {};
  typename F::Query q = F::load_query(zeros);
  const typename F::Broadcast b = F::broadcast(zeros);
  for (size_t n = 0; n < rounds; ++n) {
    TERCET_UNROLL for (int i = 0; i < kChains; ++i) {
      acc[i] = F::step(acc[i], q, b);
      // keeps every step and all of it: the accumulator in a register, the query of unknown value
      __asm__ volatile("" : "+v"(acc[i]));
      opaque(q);
    }
  }
  return rounds * kChains * F::kLanes * kGroupBytes / (F::kWidened ? 4 : F::kElementBytes);
}

template <class F>
constexpr PanelKernels panel_kernels(const char* name, decltype(PanelKernels::pack) pack) {
  return {name, F::kPanelGroupBytes, pack, maxsim<F>, dot<F>, filter<F>, peak<F>};
}
