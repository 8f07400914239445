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
//   kRows                           how rows reach the products (prepared-inl.h); of unpacked ones kParts,
//                                   unpack(block, groups, out) and unpack_block(block, out)
//   kElementBytes                   of a query in the panel
//   scale_rows(score, panel, row)   the query's part of the scale
// and the level provides Vec (kLanes floats): vec_set1, vec_load, vec_store, vec_add, vec_max, vec_ge,
// prefetch, and prefetch_l1.

// The panel is walked in blocks that stay in half of a 32 KiB L1 cache beside the document rows.
constexpr size_t kPanelBlockBytes = 20480;
// Rows whose partial accumulators wait in L1 while the blocks of the panel take their turns.
constexpr size_t kPartialRows = 24;
// Software prefetch runs this far ahead of the row being read, into L2: L1 is full of panel and rows. The
// hardware prefetchers do not follow the interleaved rows of a tile; without this, rows from memory score at
// 0.6 of the speed.
constexpr size_t kPrefetchBytes = 65536;

// Reads a variable from memory, every time. What a tile needs only between its loops would otherwise stay in
// registers throughout; gcc then parks general registers in vector registers, and the way back, a VMOVQ in
// the address of the next tile's rows, queues behind all multiply-adds in flight: 5 % at 128 int8 dimensions.
template <class T>
TERCET_INLINE T fresh(const T& x) {
  return *static_cast<const volatile T*>(&x);
}

#include "kernels/prepared-inl.h"
#include "kernels/residual-inl.h"

// One tile: NT document rows times RT accumulators of kLanes query rows, over `groups` groups. A group
// consumes at most a cache line of the rows as stored: one prefetch each keeps pace. Returns the next byte
// to prefetch. (Rows that are unpacked first are prefetched then.)
//
// Every third row has a pointer of its own, those between are reached as pointer + stride and + 2 stride:
// that is what an x86 address can say, and with a pointer or an offset for each row the general registers run
// out. The empty asm hides from the compiler that the pointers are related.
template <class F, int RT, int NT, class Between = Nothing>
TERCET_INLINE const uint8_t* accumulate(typename F::Acc (&acc)[NT][RT], const uint8_t* panel,
                                        const uint8_t* rows, size_t stride, size_t groups,
                                        const uint8_t* ahead, Between&& between = {}) {
  constexpr int kBases = (NT + 2) / 3;
  constexpr size_t kStep = kPanelRows * kGroupBytes;
  constexpr size_t kPace = NT * kGroupBytes;
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
    if constexpr (F::kRows == Rows::stored) prefetch(ahead + g * kPace);
  };
  const uint8_t* const end = panel + groups / 2 * 2 * kStep;
  TERCET_NO_UNROLL while (panel != end) {
    group(0);
    group(1);
    between();
    panel += 2 * kStep;
    TERCET_UNROLL for (int i = 0; i < kBases; ++i) base[i] += 2 * kGroupBytes;
    ahead += 2 * kPace;
  }
  if (groups % 2) {
    group(0);
    ahead += kPace;
  }
  return ahead;
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

// One stripe of query rows over one block of the panel: what all tiles share. In memory, see fresh().
template <class F>
struct Sweep {
  const Panel& panel;
  const RowsView& rows;
  int row0;                            // first query row of the accumulators
  const uint8_t* end;                  // of the rows: prefetching unmapped pages costs page walks
  const uint16_t* scales;              // of all rows
  size_t groups = 0;                   // whole groups of the block
  size_t tail = 0;                     // bytes behind them, in the last block
  size_t before = 0;                   // groups before the block
  bool last = true;                    // no block after this one: scores are finished
  size_t partial_row = 0;              // row of partial[0]
  typename F::Acc* partial = nullptr;  // accumulators of rows between two blocks, [row][RT]
};

// Tiles of NT rows, [row, end), with what is in `partial` if the panel has blocks before; finished scores go
// to `out`, others to `partial`. Not inlined: in one large function with its siblings the accumulators lose
// their registers.
template <class F, int RT, int NT, class Out>
TERCET_NOINLINE const uint8_t* tiles(const Sweep<F>& s, size_t row, size_t end, const uint8_t* ahead,
                                     Out& out_ref) {
  Out* const volatile home = &out_ref;
  Out out = *home;  // its vectors stay in registers
  [[maybe_unused]] typename PreparedRows<F::kRows, F, NT>::Type prepared;
  const auto panel_at = [&](size_t group) TERCET_INLINE_LAMBDA {
    return fresh(s.panel.values) + group * F::kPanelGroupBytes + fresh(s.row0) * kGroupBytes;
  };
  const auto rows_at = [&](size_t group) TERCET_INLINE_LAMBDA {
    return fresh(s.rows.data) + row * fresh(s.rows.stride) + group * kGroupBytes;
  };
  [[maybe_unused]] int half = 1;  // of the unpacked rows, whose tile is the current one
  [[maybe_unused]] LinedUp lined_up = LinedUp::not_at_all;
  // Rows that are unpacked, or stay in cache if those to prefetch are behind the end.
  [[maybe_unused]] const auto unpack_next = [&](size_t next) TERCET_INLINE_LAMBDA {
    if constexpr (F::kRows == Rows::unpacked) {
      const size_t stride = fresh(s.rows.stride), before = fresh(s.before);
      const uint8_t* const from = fresh(s.rows.data) + next * stride + before * kGroupBytes / F::kParts;
      if (ahead >= fresh(s.end)) ahead = from;
      uint8_t* const to = fresh(prepared.half[half ^ 1]);
      const size_t to_stride =
          lined_up != LinedUp::not_at_all ? fresh(s.groups) * kGroupBytes : prepared.kRoom;
      ahead = prepared.fill(to, to_stride, from, stride, fresh(s.groups), before ? 0 : stride, ahead);
    }
  };
  if constexpr (F::kRows == Rows::unpacked) {
    lined_up = prepared.line_up(s);
    unpack_next(row);
  }
  TERCET_NO_UNROLL for (; row < end; row += NT) {
    const size_t before = fresh(s.before), groups = fresh(s.groups), stride = fresh(s.rows.stride);
    const uint8_t* const rows = rows_at(before);
    if (ahead >= fresh(s.end)) ahead = rows;  // what is in cache already
    if constexpr (F::kRows == Rows::widened) prepared.fill(rows, stride, groups, fresh(s.tail));
    if constexpr (F::kRows == Rows::unpacked) {
      half ^= 1;
      if (lined_up == LinedUp::not_at_all && row + NT < end) unpack_next(row + NT);
    }
    const uint16_t* const all_scales = fresh(s.scales);  // before the products, or these would wait for them
    const typename F::template Scales<NT> scales(all_scales ? all_scales + row : nullptr);

    typename F::Acc acc[NT][RT];
    if (before == 0) {
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = F::start(s.panel, s.row0 + r * F::kLanes);
      }
    } else {
      const typename F::Acc* const partial = fresh(s.partial) + (row - fresh(s.partial_row)) * RT;
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = partial[j * RT + r];
      }
    }
    if constexpr (F::kRows == Rows::widened) {
      ahead = accumulate_widened<F, RT, NT>(acc, panel_at(before), prepared, groups, fresh(s.tail), ahead);
    } else if constexpr (F::kRows == Rows::unpacked) {
      const uint8_t* const unpacked = fresh(prepared.half[half]);
      if constexpr (prepared.kCanLineUp) {
        if (lined_up == LinedUp::blocks) {  // after the last tile that one again, for nothing
          const uint8_t* from = row + NT < end ? rows + NT * fresh(s.rows.stride) : rows;
          uint8_t* to = fresh(prepared.half[half ^ 1]);
          const auto unpack_block = [&]() TERCET_INLINE_LAMBDA {
            F::unpack_block(from, to);
            prefetch(ahead);
            from += kBlockDims / F::kParts;
            to += kBlockDims;
            ahead += kBlockDims / F::kParts;
          };
          accumulate<F, RT, NT>(acc, panel_at(before), unpacked, groups * kGroupBytes, groups, ahead,
                                unpack_block);
        }
      }
      if constexpr (prepared.kCanLineUp && F::kHasChunks) {
        if (lined_up == LinedUp::chunks) {
          const uint8_t* const from = row + NT < end ? rows + NT * fresh(s.rows.stride) : rows;
          uint8_t* to = fresh(prepared.half[half ^ 1]);
          const Chunk* chunk = prepared.chunks;
          const auto unpack_chunk = [&]() TERCET_INLINE_LAMBDA {
            F::unpack_chunk(*chunk++, from, to);
            prefetch(ahead);
            to += kBlockDims;
            ahead += kBlockDims / F::kParts;
          };
          accumulate<F, RT, NT>(acc, panel_at(before), unpacked, groups * kGroupBytes, groups, ahead,
                                unpack_chunk);
        }
      }
      if (lined_up == LinedUp::not_at_all) {
        accumulate<F, RT, NT>(acc, panel_at(before), unpacked, prepared.kRoom, groups, ahead);
      }
    } else {
      ahead = accumulate<F, RT, NT>(acc, panel_at(before), rows, stride, groups, ahead);
      if (const size_t tail = fresh(s.tail)) {
        const size_t group = fresh(s.before) + fresh(s.groups);
        accumulate_tail<F, RT, NT>(acc, panel_at(group), rows_at(group), fresh(s.rows.stride), tail);
      }
    }
    if (fresh(s.last)) {
      Vec scores[NT][RT];
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) scores[j][r] = F::score(acc[j][r], scales, j);
      }
      out(row, scores);
    } else {
      typename F::Acc* const partial = fresh(s.partial) + (row - fresh(s.partial_row)) * RT;
      TERCET_UNROLL for (int j = 0; j < NT; ++j) {
        TERCET_UNROLL for (int r = 0; r < RT; ++r) partial[j * RT + r] = acc[j][r];
      }
    }
  }
  *home = out;
  return ahead;
}

// Rows [row, end) in tiles of NT, what is left over in tiles of half the size, and half of that. Where it
// does no harm to see a row twice, more than half a tile is left over as one tile that begins before `row`,
// though not before `first`: small tiles have too few sums in flight to hide the latency of a multiply-add.
template <class F, int RT, int NT, class Out>
TERCET_INLINE const uint8_t* tiles_of(const Sweep<F>& s, size_t first, size_t row, size_t end,
                                      const uint8_t* ahead, Out& out) {
  if constexpr (NT == 0) {
    return ahead;
  } else {
    const size_t whole = row + (end - row) / NT * NT;
    if (row < whole) ahead = tiles<F, RT, NT>(s, row, whole, ahead, out);
    if (Out::kRepeatable && 2 * (end - whole) > NT && end - first >= NT) {
      return tiles<F, RT, NT>(s, end - NT, end, ahead, out);
    }
    return tiles_of<F, RT, NT / 2>(s, first, whole, end, ahead, out);
  }
}

// Rows [first, first + count), each with its finished score handed to `out` once, in order.
template <class F, int RT, class Out>
TERCET_INLINE void sweep_finished(Sweep<F>& s, size_t first, size_t count, Out& out) {
  constexpr int NT = F::template kTokens<RT>;
  // packed rows are whole groups, padded
  const size_t bytes = s.rows.dim * F::kElementBytes;
  const size_t tail = F::kRows == Rows::unpacked ? 0 : bytes % kGroupBytes;
  const size_t groups = (bytes - tail + kGroupBytes - 1) / kGroupBytes;
  const size_t blocks = (groups * F::kPanelGroupBytes + kPanelBlockBytes - 1) / kPanelBlockBytes;
  const uint8_t* ahead = s.rows.data + first * s.rows.stride + kPrefetchBytes;
  if (blocks <= 1) {  // no partial sums, and all rows can be swept at once
    s.groups = groups;
    s.tail = tail;
    tiles_of<F, RT, NT>(s, first, first, first + count, ahead, out);
    return;
  }
  alignas(64) typename F::Acc partial[kPartialRows * RT];
  s.partial = partial;
  // a whole number of the blocks in which packed rows are laid out
  constexpr size_t kStep = F::kRows == Rows::unpacked ? kBlockDims / kGroupBytes : 1;
  const size_t block = ((groups + blocks - 1) / blocks + kStep - 1) / kStep * kStep;
  for (size_t begin = first; begin < first + count; begin += kPartialRows) {
    const size_t end = begin + kPartialRows < first + count ? begin + kPartialRows : first + count;
    s.partial_row = begin;
    for (s.before = 0; s.before < groups; s.before += block) {
      s.groups = s.before + block < groups ? block : groups - s.before;
      s.last = s.before + s.groups == groups;
      s.tail = s.last ? tail : 0;
      // no row twice, or its sums in `partial` would be added to twice
      ahead = tiles_of<F, RT, NT>(s, end, begin, end, ahead, out);
    }
  }
}

template <class F, int RT, class Out>
TERCET_INLINE void sweep_rows(Sweep<F>& s, size_t first, size_t count, Out& out) {
  if constexpr (F::kRows == Rows::unpacked) {
    if (s.panel.centroid_scores) {
      CentroidsOut<F, RT, Out> added{out, s.panel.centroid_scores + s.row0, s.rows.centroids, s.rows.rows};
      sweep_finished<F, RT>(s, first, count, added);
      out = added.out;
      return;
    }
  }
  sweep_finished<F, RT>(s, first, count, out);
}

// Calls body(sweep, RT) for each stripe of query rows that one set of accumulators covers. Every stripe
// passes over the rows once, so 4 lanes go four vectors wide.
template <class F, class Body>
TERCET_INLINE void for_each_stripe(const Panel& panel, const RowsView& rows, Body body) {
  constexpr int kWidest = F::kLanes == 4 ? 4 : 2;
  for (int row0 = 0; row0 < panel.rows; row0 += kWidest * F::kLanes) {
    Sweep<F> sweep{panel, rows, row0, rows.data + rows.rows * rows.stride, rows.scales};
    const int left = panel.rows - row0;
    if (kWidest > 2 && left > 2 * F::kLanes) {
      body.template operator()<kWidest>(sweep);
    } else if (left > F::kLanes) {
      body.template operator()<2>(sweep);
    } else {
      body.template operator()<1>(sweep);
    }
  }
}

template <int RT>
struct MaxOut {
  static constexpr bool kRepeatable = true;
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
  for_each_stripe<F>(panel, rows, [&]<int RT>(Sweep<F>& sweep) {
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

#include "kernels/batched-inl.h"
#include "kernels/nearest-inl.h"
#include "kernels/peak-inl.h"
