// Intel AMX: bfloat16, int8 and packed codes by tiles. Everything else of this level is avx512_bf16's.
//
// One instruction multiplies 16 document rows x 64 bytes (A), straight from storage, with 64 bytes x 16 query
// rows (B) and adds to 16 x 16 sums (C). B wants its bytes as [4 bytes][query row][4], which is what a panel
// is: 16 groups of it, 128 bytes apart, hold one tile of query rows 0 to 15 and one of 16 to 31. Sums go to
// L1 and become scores in AVX-512 registers by the arithmetic of level avx512: integer results are the same
// to the last bit. A bfloat16 sum adds, for every 64 bytes, the products of even elements and those of odd
// ones, each in the order of the dimensions, to what it was; like VDPBF16PS, TDPBF16PS flushes subnormals.
//
// The arithmetic, for 16 int8 rows of 128 dimensions and 32 query rows: 4 TDPBUSD, 65536 products, at 16
// cycles each 64 cycles (VPDPBUSD, two a cycle: 512). That is 2 KiB of rows, 32 bytes a cycle: more than
// memory gives a core, so scans from memory are bound by it. A tile load is 16 lines, 8 cycles at two lines a
// cycle: two tiles of rows and two of query rows for four products are 32 cycles of loads beside 64 of
// products; reading 64 vectors of sums takes 32 cycles more for every 32 rows, whatever their length. Four
// sums are also what hides the 52 cycles until a product is there.
//
// These numbers are Intel's; this file has not run on such a processor yet. Its results are tested with the
// instructions in plain C++ (tests/csrc/kernels/amx_emulated.cc), its speed is not known. To be measured
// first: whether up to 128 bytes a row 4 resident tiles of queries, 2 of rows and 2 of sums win (they halve
// the loads), and what the prefetches cost when rows are in cache already.
#include <immintrin.h>

#include "kernels/compiler.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

#include "kernels/simd_avx512-inl.h"

#include "kernels/panel-inl.h"

#include "kernels/integers_avx512-inl.h"

#include "kernels/amx_tiles-inl.h"

#include "kernels/amx_cut-inl.h"

// A format adds to what level avx512 has of it: multiply(), sum() from L1, and the kernels for rows too short
// for a tile.
template <class F, Format kFormat>
struct IntegerTiles : F {
  template <int C, int A, int B>
  static TERCET_INLINE void multiply() {
    Tiles::dpbusd<C, A, B>();
  }
  static TERCET_INLINE __m512i sum(__m512i start, const uint8_t* products) {
    return _mm512_add_epi32(start, _mm512_load_si512(products));
  }
  static const PanelKernels& below() { return kAvx512Kernels.panels[static_cast<int>(kFormat)]; }
};
template <bool kSmall>
using TileInt8 = IntegerTiles<Int8<kSmall>, Format::int8>;
template <bool kSmall>
using TileInt4 = IntegerTiles<Int4<kSmall>, Format::int4>;
template <bool kSmall>
using TileInt2 = IntegerTiles<Int2<kSmall>, Format::int2>;
template <bool kSmall>
using TileInt1 = IntegerTiles<Int1<kSmall>, Format::int1>;

struct TileBfloat16 : Unscaled {
  static constexpr size_t kElementBytes = 2;
  static constexpr Rows kRows = Rows::stored;
  template <int C, int A, int B>
  static TERCET_INLINE void multiply() {
    Tiles::dpbf16<C, A, B>();
  }
  static TERCET_INLINE __m512 sum(__m512, const uint8_t* products) { return _mm512_load_ps(products); }
  static const PanelKernels& below() { return kAvx512Bfloat16Panels; }
};

// One address after the other: gcc would compute sixteen before the loop over the steps and, for want of
// general registers, keep them in vector registers.
TERCET_INLINE void prefetch_rows(const uint8_t* row, size_t stride) {
  TERCET_UNROLL for (int j = 0; j < kTileRows; ++j) {
    prefetch(row);
    row += stride;
    __asm__("" : "+r"(row));
  }
}

// One step of two times two tiles. Prefetches follow the products that take the time.
template <class F, int RT>
TERCET_INLINE void step(const uint8_t* rows0, const uint8_t* rows1, size_t stride, const uint8_t* panel,
                        bool prefetches) {
  Tiles::load<kRows0>(rows0, stride);
  Tiles::load<kQueries0>(panel, kGroupStride);
  F::template multiply<kSums00, kRows0, kQueries0>();
  if constexpr (RT == 2) {
    Tiles::load<kQueries1>(panel + 64, kGroupStride);
    F::template multiply<kSums01, kRows0, kQueries1>();
  }
  if (prefetches) prefetch_rows(rows0 + kPrefetchBytes, stride);
  Tiles::load<kRows1>(rows1, stride);
  F::template multiply<kSums10, kRows1, kQueries0>();
  if constexpr (RT == 2) F::template multiply<kSums11, kRows1, kQueries1>();
  if (prefetches) prefetch_rows(rows1 + kPrefetchBytes, stride);
}

// Packed rows are unpacked into L1, 8 steps of a row at a time.
constexpr size_t kUnpackedSteps = 8;
template <class F>
struct UnpackedRows {
  static constexpr size_t kStride = kUnpackedSteps * kTileBytes + 128;  // vectors store past the end
  alignas(64) uint8_t bytes[kTileRows * kStride];

  // Groups [first, first + count) of the rows of a tile.
  TERCET_INLINE void fill(const Job<F>& job, const uint8_t* row, size_t first, size_t count,
                          bool prefetches) {
    const size_t stride = job.rows.stride, fetched = prefetches && first == 0 ? stride : 0;
    for (size_t j = 0; j < job.tile_rows(); ++j, row += stride) {
      F::unpack(row + first * kGroupBytes / F::kParts, count, bytes + j * kStride);
      for (size_t k = 0; k < fetched; k += 64) prefetch(row + k + kPrefetchBytes);
    }
  }
};

// The sums of two tiles, sums[tile][row][query row].
template <class F, int RT>
TERCET_NOINLINE void multiply(const Job<F>& job, const Tile (&pair)[2], uint8_t* sums) {
  const Steps<F>& steps = job.steps;
  const size_t stride = job.rows.stride, steps_of_row = steps.count;
  const uint8_t* const row0 = job.rows.data + pair[0].row * stride;
  const uint8_t* const row1 = job.rows.data + pair[1].row * stride;
  const uint8_t* const end = job.rows.data + job.rows.rows * stride;
  const size_t left = static_cast<size_t>(end - (row0 < row1 ? row1 : row0));
  const bool prefetches = left > kTileRows * stride + kPrefetchBytes;
  Tiles::zero<kSums00>();
  Tiles::zero<kSums10>();
  if constexpr (RT == 2) Tiles::zero<kSums01>();
  if constexpr (RT == 2) Tiles::zero<kSums11>();
  if constexpr (F::kRows == Rows::stored) {
    TERCET_NO_UNROLL for (size_t i = 0; i < steps_of_row; ++i) {
      const size_t byte = steps.byte_at(i);
      step<F, RT>(row0 + byte, row1 + byte, stride, steps.panel_at(job.panel, i), prefetches);
    }
  } else {
    UnpackedRows<F> unpacked[2];
    constexpr size_t kStepGroups = kTileBytes / kGroupBytes;
    const size_t groups = bytes_multiplied<F>(job.rows) / kGroupBytes;
    for (size_t first = 0; first < steps_of_row; first += kUnpackedSteps) {
      const size_t last = first + kUnpackedSteps < steps_of_row ? first + kUnpackedSteps : steps_of_row;
      const size_t group = first * kStepGroups, end_group = last * kStepGroups;
      const size_t count = (end_group < groups ? end_group : groups) - group;
      unpacked[0].fill(job, row0, group, count, prefetches);
      unpacked[1].fill(job, row1, group, count, prefetches);
      TERCET_NO_UNROLL for (size_t i = first; i < last; ++i) {
        const size_t byte = (i - first) * kTileBytes;
        step<F, RT>(unpacked[0].bytes + byte, unpacked[1].bytes + byte, UnpackedRows<F>::kStride,
                    steps.panel_at(job.panel, i), false);
      }
    }
  }
  constexpr size_t kTile = kTileRows * kGroupStride;
  Tiles::store<kSums00>(sums, kGroupStride);
  Tiles::store<kSums10>(sums + kTile, kGroupStride);
  if constexpr (RT == 2) Tiles::store<kSums01>(sums + 64, kGroupStride);
  if constexpr (RT == 2) Tiles::store<kSums11>(sums + kTile + 64, kGroupStride);
}

// Hands the scores of a tile to `out`, in order.
template <class F, int RT, class Out>
TERCET_NOINLINE void finish(const Job<F>& job, const Tile& tile, const uint8_t* sums, Out& out) {
  const uint16_t* const scales_of_rows = job.rows.scales;
  typename F::Acc start[RT];
  TERCET_UNROLL for (int r = 0; r < RT; ++r) start[r] = F::start(job.panel, r * F::kLanes);
  const auto rows_from = [&]<int NT>(int j) TERCET_INLINE_LAMBDA {
    const size_t row = tile.row + static_cast<size_t>(j);
    const typename F::template Scales<NT> scales(scales_of_rows ? scales_of_rows + row : nullptr);
    Vec scores[NT][RT];
    TERCET_UNROLL for (int i = 0; i < NT; ++i) {
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        scores[i][r] = F::score(F::sum(start[r], sums + (j + i) * kGroupStride + r * 64), scales, i);
      }
    }
    out(row, scores);
  };
  int j = tile.begin;
  for (; j + 8 <= tile.end; j += 8) rows_from.template operator()<8>(j);
  for (; j < tile.end; ++j) rows_from.template operator()<1>(j);
}

// The same for rows that may be residuals: CentroidsOut stands between finish() and `out` as it does between
// tiles() and `out`, so that scores are rounded and added in the same order. A branch and a few vectors there
// and back for every tile.
template <class F, int RT, class Out>
TERCET_INLINE void finish_any(const Job<F>& job, const Tile& tile, const uint8_t* sums, Out& out) {
  if constexpr (F::kRows == Rows::unpacked) {
    if (job.panel.centroid_scores) {
      CentroidsOut<F, RT, Out> added{out, job.panel.centroid_scores, job.rows.centroids, job.rows.rows};
      finish<F, RT>(job, tile, sums, added);
      out = added.out;
      return;
    }
  }
  finish<F, RT>(job, tile, sums, out);
}

// Takes tiles by twos. The scores of two are finished after the products of the next two are under way: by
// then their sums have reached L1, and the processor has both to do at once.
template <class F, int RT, class Finish>
struct Pipeline {
  const Job<F>& job;
  Finish finish;
  Tile tiles[2][2] = {};
  int turn = 0, taken = 0;
  bool waiting = false;  // tiles[1 - turn]
  alignas(64) uint8_t sums[2][2][kTileRows * kGroupStride];

  Pipeline(const Job<F>& j, Finish f) : job(j), finish(f) {}

  void take(const Tile& tile) {
    tiles[turn][taken++] = tile;
    if (taken < 2) return;
    multiply<F, RT>(job, tiles[turn], sums[turn][0]);
    finish_waiting();
    waiting = true;
    turn = 1 - turn;
    taken = 0;
  }
  void end() {
    if (taken == 1) take({tiles[turn][0].row, 0, 0, 0, false, false});  // an odd one, beside itself
    finish_waiting();
  }

 private:
  void finish_waiting() {
    if (!waiting) return;
    for (int i = 0; i < 2; ++i) finish(tiles[1 - turn][i], sums[1 - turn][i]);
    waiting = false;
  }
};

// Calls body(job) with as many tiles of query rows as the panel fills.
template <class F, class Body>
TERCET_INLINE void with_tiles(const Panel& panel, const RowsView& rows, Body body) {
  const Job<F> job{panel, rows, Steps<F>(panel, rows)};
  Tiles::configure(job.config());
  if (panel.rows > F::kLanes) {
    body.template operator()<2>(job);
  } else {
    body.template operator()<1>(job);
  }
  Tiles::release();
}

template <class F>
void maxsim_tiles(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts,
                  float* best, size_t best_stride) noexcept {
  if (too_small<F>(rows)) return F::below().maxsim(panel, rows, texts, num_texts, best, best_stride);
  with_tiles<F>(panel, rows, [&]<int RT>(const Job<F>& job) {
    MaxOut<RT> out;
    const auto set_to = [&](float score) {
      TERCET_UNROLL for (int r = 0; r < RT; ++r) out.best[r] = vec_set1(score);
    };
    const auto write = [&](size_t text) {
      TERCET_UNROLL for (int r = 0; r < RT; ++r) {
        const int row = r * F::kLanes;
        vec_store(best + text * best_stride + row, F::scale_rows(out.best[r], panel, row));
      }
    };
    const auto done = [&](const Tile& tile, const uint8_t* sums) {
      if (tile.first) set_to(-__builtin_inff());
      finish_any<F, RT>(job, tile, sums, out);
      if (tile.last) write(tile.text);
    };
    Pipeline<F, RT, decltype(done)> pipeline(job, done);
    for (size_t i = 0; i < num_texts; ++i) {
      cut(job, texts[i].begin, texts[i].begin + texts[i].count, out.kRepeatable, [&](Tile tile) {
        tile.text = i;
        pipeline.take(tile);
      });
    }
    pipeline.end();
    set_to(-__builtin_inff());
    for (size_t i = 0; i < num_texts; ++i) {
      if (texts[i].count == 0) write(i);
    }
  });
}

template <class F, int RT, class Out>
TERCET_INLINE void sweep_tiles(const Job<F>& job, size_t first, size_t count, Out& out) {
  const auto done = [&](const Tile& tile, const uint8_t* sums) { finish_any<F, RT>(job, tile, sums, out); };
  Pipeline<F, RT, decltype(done)> pipeline(job, done);
  cut(job, first, first + count, Out::kRepeatable, [&](const Tile& tile) { pipeline.take(tile); });
  pipeline.end();
}

template <class F>
void dot_tiles(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* scores) noexcept {
  if (too_small<F>(rows)) return F::below().dot(panel, rows, first, count, scores);
  with_tiles<F>(panel, rows, [&]<int RT>(const Job<F>& job) {
    DotOut<F, RT> out{&panel, 0, rows.bias, scores - first * kPanelRows};
    sweep_tiles<F, RT>(job, first, count, out);
  });
}

template <class F>
void filter_tiles(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                  CandidateSink& sink) noexcept {
  if (too_small<F>(rows)) return F::below().filter(panel, rows, first, count, sink);
  filter_pieces<F>(panel, rows, first, count, sink, dot_tiles<F>);
}

template <class F>
void nearest_tiles(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
                   uint32_t* row) noexcept {
  if (too_small<F>(rows)) return F::below().nearest(panel, rows, first, count, best, row);
  with_tiles<F>(panel, rows, [&]<int RT>(const Job<F>& job) {
    NearestOut<F, RT> out{&panel, 0, rows.bias, {}, {}};
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      out.best[r] = vec_load(best + r * F::kLanes);
      out.row[r] = numbers_load(row + r * F::kLanes);
    }
    sweep_tiles<F, RT>(job, first, count, out);
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      vec_store(best + r * F::kLanes, out.best[r]);
      numbers_store(row + r * F::kLanes, out.row[r]);
    }
  });
}

// Four sums, as in step(): as many as hide the latency.
template <class F>
size_t peak_tiles(size_t rounds) noexcept {
  TileConfig config;
  for (int t = 0; t < 8; ++t) config.rows[t] = kTileRows, config.row_bytes[t] = kTileBytes;
  Tiles::configure(config);  // and zeroes all
  for (size_t n = 0; n < rounds; ++n) {
    F::template multiply<kSums00, kRows0, kQueries0>();
    F::template multiply<kSums01, kRows0, kQueries1>();
    F::template multiply<kSums10, kRows1, kQueries0>();
    F::template multiply<kSums11, kRows1, kQueries1>();
  }
  Tiles::release();
  return rounds * 4 * kTileRows * (kTileBytes / F::kElementBytes) * F::kLanes;
}

// The kernels of an integer format: those for small scores, if no score of that many dimensions is larger.
template <template <bool> class F, uint32_t kSmall>
struct TilesBySize {
  static void maxsim(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts,
                     float* best, size_t best_stride) noexcept {
    (rows.dim <= kSmall ? maxsim_tiles<F<true>> : maxsim_tiles<F<false>>)(panel, rows, texts, num_texts, best,
                                                                          best_stride);
  }
  static void dot(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                  float* scores) noexcept {
    (rows.dim <= kSmall ? dot_tiles<F<true>> : dot_tiles<F<false>>)(panel, rows, first, count, scores);
  }
  static void filter(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                     CandidateSink& sink) noexcept {
    (rows.dim <= kSmall ? filter_tiles<F<true>> : filter_tiles<F<false>>)(panel, rows, first, count, sink);
  }
  static void nearest(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
                      uint32_t* row) noexcept {
    (rows.dim <= kSmall ? nearest_tiles<F<true>> : nearest_tiles<F<false>>)(panel, rows, first, count, best,
                                                                            row);
  }
  static constexpr PanelKernels kernels(const char* name, decltype(PanelKernels::pack) pack) {
    return {name, kGroupStride, pack, maxsim, dot, filter, nearest, peak_tiles<F<true>>};
  }
};

}  // namespace

// The panels are those of the levels below.
const AmxPanels kAmxPanels = {
    {"amx bf16", kGroupStride, pack_bfloat16_pairs, maxsim_tiles<TileBfloat16>, dot_tiles<TileBfloat16>,
     filter_tiles<TileBfloat16>, nearest_tiles<TileBfloat16>, peak_tiles<TileBfloat16>},
    TilesBySize<TileInt8, kSmallDim8>::kernels("amx int8", pack_integers<Format::int8>),
    TilesBySize<TileInt4, kSmallDim4>::kernels("amx int8, unpacked", pack_integers<Format::int4>),
    TilesBySize<TileInt2, kSmallDim2>::kernels("amx int8, unpacked", pack_integers<Format::int2>),
    TilesBySize<TileInt1, kSmallDim1>::kernels("amx int8, unpacked", pack_integers<Format::int1>),
};

}  // namespace tercet
