// MaxSim: of each query token the largest score with a document's tokens, summed. A warp has a document,
// whose tokens it reads once for every panel of the query; a document longer than kLongTokens is the work of
// all warps of a block, whose maxima are merged, which has no order.
#pragma once
#include "cuda/documents.cuh"
#include "cuda/tile.cuh"

namespace tercet::cuda {

// Two blocks of 6 warps are 3 for each of a multiprocessor's four parts, which leaves 168 registers to a
// thread; a fourth would leave 128, where some kernels spill.
constexpr uint32_t kMaxSimWarps = 6;
constexpr uint32_t kLongTokens = 1024;
constexpr size_t kMaxSimShared = kMaxSimWarps * kPanelRows * sizeof(float);

struct MaxSimArguments {
  Rows rows;
  Panels panels;
  Documents documents;
  QueryTokens queries;
  uint32_t dim;
  const int64_t* candidates;  // [queries][items], numbers of documents or -1; null: all documents
  uint32_t items;
  float* scores;  // [queries][items]; -inf of a document without tokens, and where there is none

  TERCET_DEVICE uint64_t at(uint32_t query, uint32_t item) const { return uint64_t{query} * items + item; }
};

// The sum over query tokens in the order of csrc/index/scan.cc: four partial sums, by the number of a token
// within its query, and (sum 0 + sum 1) + (sum 2 + sum 3) of them. A lane has two of the four, and every
// other one of the values that belong to them; the lane that has the others is two away. Padding rows add +0,
// which changes nothing: sums that begin with +0 are never -0.
struct TokenSum {
  float sums[2] = {0, 0};

  TERCET_DEVICE void add_panel(const float (&best)[8]) {
    const bool first = lane() % 4 < 2;
    TERCET_UNROLL
    for (int i = 0; i < 8; ++i) {
      const float other = shuffle_xor(best[i], 2);
      sums[i % 2] = add(add(sums[i % 2], first ? best[i] : other), first ? other : best[i]);
    }
  }
  TERCET_DEVICE float total() const {
    const float own = add(sums[0], sums[1]);
    return add(own, shuffle_xor(own, 1));
  }
};

// On every lane, the score of a document of at least one token with a query. `together`: all warps of the
// block are here, each for its part.
template <class AnyTile>
TERCET_DEVICE float document_score(AnyTile& tile, const Rows& rows, const Span& document,
                                   uint32_t first_panel, uint32_t panels, bool together) {
  uint32_t from = 0, to = document.count;
  if (together) {
    const uint32_t share = (document.count / kMaxSimWarps / kTileRows + 1) * kTileRows;
    from = warp() * share < document.count ? warp() * share : document.count;
    to = document.count - from < share ? document.count : from + share;
  }
  TokenSum sum;
  for (uint32_t panel = 0; panel < panels; ++panel) {
    if (panels > 1) tile.open(first_panel + panel);
    float best[8];
    TERCET_UNROLL
    for (float& x : best) x = kLowest;
    tile.scan(rows, document.begin, from, to, [&](uint32_t, const float (&low)[8], const float (&high)[8]) {
      TERCET_UNROLL
      for (int i = 0; i < 8; ++i) best[i] = larger(best[i], larger(low[i], high[i]));
    });
    reduce(best);
    if (together) {
      float* const merged = shared_memory<float>();
      if (lane() < 4) {
        TERCET_UNROLL
        for (int i = 0; i < 8; ++i) merged[warp() * kPanelRows + lane() * 8 + i] = best[i];
      }
      synchronise_block();
      for (uint32_t w = 0; w < kMaxSimWarps; ++w) {
        TERCET_UNROLL
        for (int i = 0; i < 8; ++i) best[i] = larger(best[i], merged[w * kPanelRows + lane() % 4 * 8 + i]);
      }
      synchronise_block();  // before the next maxima overwrite these
    }
    TERCET_UNROLL
    for (int i = 0; i < 8; ++i) best[i] = multiply(best[i], tile.query_scale(i));
    sum.add_panel(best);
  }
  return sum.total();
}

// Grid: queries, so that blocks that run together read the same documents, by groups of kMaxSimWarps items.
template <Format kFormat, bool kResident, bool kResidual>
TERCET_KERNEL(kMaxSimWarps* kWarp, 2)
maxsim_kernel(MaxSimArguments a) {
  const uint32_t query = block_x(), first_panel = query * a.queries.panels();
  const uint32_t panels = a.queries.panels_of(query);
  Tile<kFormat, kResident, kResidual> tile(a.panels, a.dim);
  if (panels == 1) tile.open(first_panel);
  for (uint32_t group = block_y(); group * kMaxSimWarps < a.items; group += blocks_y()) {
    // Lane i of every warp looks up the document of warp i.
    const uint32_t item = group * kMaxSimWarps + lane();
    const bool mine = lane() < kMaxSimWarps && item < a.items;
    Span span{0, 0};
    if (mine) span = a.documents.span(a.candidates ? a.candidates[a.at(query, item)] : item);
    if (warp() == 0 && mine && (span.count == 0 || panels == 0))
      a.scores[a.at(query, item)] = span.count ? 0 : kLowest;
    const uint32_t long_ones = ballot(span.count > kLongTokens);
    const uint32_t others = ballot(span.count > 0 && span.count <= kLongTokens);
    for (uint32_t left = panels ? long_ones | (others & 1u << warp()) : 0; left; left &= left - 1) {
      const uint32_t i = lowest_bit(left);
      const Span document{shuffle(span.begin, i), shuffle(span.count, i)};
      const float score = document_score(tile, a.rows, document, first_panel, panels, long_ones >> i & 1);
      // Infinities of both signs have no sum: they rank last.
      if (i == warp() && lane() == 0)
        a.scores[a.at(query, group * kMaxSimWarps + i)] = score == score ? score : kLowest;
    }
  }
}

}  // namespace tercet::cuda
