// How rows and panels are cut into tiles. Included by amx.cc inside its anonymous namespace, after
// panel-inl.h and amx_tiles-inl.h.

constexpr int kTileRows = 16;
constexpr size_t kTileBytes = 64;  // of a row
constexpr size_t kGroupStride = kPanelRows * kGroupBytes;

// The registers: sums of two tiles of document rows (first digit) with two of query rows (second).
enum Register : int { kSums00, kSums01, kSums10, kSums11, kRows0, kRows1, kQueries0, kQueries1 };

// Of a row; packed ones are multiplied with their padding, for which the panel has zeros.
template <class F>
TERCET_INLINE size_t bytes_multiplied(const RowsView& rows) {
  if constexpr (F::kRows == Rows::stored) {
    return rows.dim * F::kElementBytes;
  } else {
    constexpr size_t kCodes = kGroupBytes * F::kParts;  // of four stored bytes
    return (rows.dim + kCodes - 1) / kCodes * kCodes;
  }
}

// How a row is cut into steps of a tile each. If its bytes are no multiple of their width, a last step begins
// early and ends with the row; its copy of the panel is zero where it sees bytes again. So nothing is read
// behind a row, and no row is copied. (A narrower tile for the rest would need another configuration, which
// clears the sums, and could not have a width that is no multiple of four.)
template <class F>
struct Steps {
  size_t width, whole;  // `whole` steps of `width` bytes, one after the other
  size_t count;         // and the last
  size_t last_byte;     // of the row, where the last step begins
  alignas(64) uint8_t last_panel[kTileBytes * kPanelRows];

  Steps(const Panel& panel, const RowsView& rows) {
    const size_t bytes = bytes_multiplied<F>(rows);
    width = bytes < kTileBytes ? bytes / kGroupBytes * kGroupBytes : kTileBytes;
    whole = bytes / width;
    count = whole + (bytes % width != 0);
    // Unpacked rows lie in a buffer of whole tiles; what it has behind a row is multiplied with zeros.
    last_byte = F::kRows == Rows::stored ? bytes - width : whole * width;
    if (count > whole) copy_last(panel.values, (bytes + kGroupBytes - 1) / kGroupBytes);
  }

  const uint8_t* panel_at(const Panel& panel, size_t step) const {
    return step < whole ? panel.values + step * width * kPanelRows : last_panel;
  }
  size_t byte_at(size_t step) const { return step < whole ? step * width : last_byte; }

 private:
  void copy_last(const uint8_t* panel, size_t groups) {
    const __m128i down = _mm_cvtsi32_si128(static_cast<int>(last_byte % kGroupBytes * 8));
    const __m128i up = _mm_sub_epi32(_mm_cvtsi32_si128(32), down);  // a shift by 32 gives zero
    for (size_t g = 0; g < width / kGroupBytes; ++g) {
      const size_t from = last_byte / kGroupBytes + g, byte = last_byte + g * kGroupBytes;
      // bytes of the group that an earlier step had
      const size_t seen = whole * width > byte ? whole * width - byte : 0;
      const __m512i unseen =
          _mm512_set1_epi32(seen < kGroupBytes ? static_cast<int>(0xffffffffu << 8 * seen) : 0);
      for (size_t lane = 0; lane < kGroupStride; lane += 64) {
        const auto group = [&](size_t i) {
          return i < groups ? _mm512_load_si512(panel + i * kGroupStride + lane) : _mm512_setzero_si512();
        };
        const __m512i shifted =
            _mm512_or_si512(_mm512_srl_epi32(group(from), down), _mm512_sll_epi32(group(from + 1), up));
        _mm512_store_si512(last_panel + g * kGroupStride + lane, _mm512_and_si512(shifted, unseen));
      }
    }
  }
};

// What all tiles of a call share.
template <class F>
struct Job {
  const Panel& panel;
  const RowsView& rows;
  Steps<F> steps;

  size_t tile_rows() const { return rows.rows < kTileRows ? rows.rows : kTileRows; }

  TileConfig config() const {
    TileConfig c;
    for (int t = 0; t < 8; ++t) {
      const bool of_queries = t == kQueries0 || t == kQueries1, of_rows = t == kRows0 || t == kRows1;
      c.rows[t] = static_cast<uint8_t>(of_queries ? steps.width / kGroupBytes : tile_rows());
      c.row_bytes[t] = static_cast<uint16_t>(of_rows ? steps.width : kTileBytes);
    }
    return c;
  }
};

// The rows of a tile: those asked for are row + [begin, end).
struct Tile {
  size_t row;
  int begin, end;
  size_t text;  // of maxsim, with what the tile is to it
  bool first, last;
};

// Calls take(tile) for tiles that cover rows [first, end). The last begins early, so that no rows are read
// that nobody asked for, unless there are less than a tile: then neighbours are multiplied too and left
// aside. Where rows may be seen twice, all rows of an early tile are finished: whole tiles go faster.
template <class F, class Take>
TERCET_INLINE void cut(const Job<F>& job, size_t first, size_t end, bool repeatable, Take take) {
  const size_t tile_rows = job.tile_rows();
  for (size_t row = first; row < end; row += kTileRows) {
    size_t at = row;
    if (at + kTileRows > end) at = end - first > kTileRows ? end - kTileRows : first;
    if (at + tile_rows > job.rows.rows) at = job.rows.rows - tile_rows;
    const size_t wanted = repeatable ? first : row;
    const size_t stop = end - at < tile_rows ? end - at : tile_rows;
    take(Tile{at, wanted > at ? static_cast<int>(wanted - at) : 0, static_cast<int>(stop), 0, row == first,
              row + kTileRows >= end});
  }
}

// A tile is at least four bytes wide and one row high.
template <class F>
TERCET_INLINE bool too_small(const RowsView& rows) {
  return bytes_multiplied<F>(rows) < kGroupBytes || rows.rows == 0;
}
