// Rows that are not multiplied as they are stored: a tile of them is prepared in L1 first, which costs a few
// operations for a vector of elements, where preparing what is broadcast would cost them for every group.
// Included by panel-inl.h.

enum class Rows {
  stored,    // multiplied as they are
  widened,   // bfloat16 without bfloat16 instructions: to float32
  unpacked,  // codes smaller than a byte: to bytes
};

// bfloat16 rows widened to float32: each row's even elements, then its odd ones.
template <class F, int NT>
struct Widened {
  static constexpr size_t kHalf = kPanelBlockBytes / F::kPanelGroupBytes + 16;
  alignas(64) float elements[NT][2][kHalf];

  // Not inlined, and called before the accumulators begin to live: they would be spilled.
  TERCET_NOINLINE void fill(const uint8_t* rows, size_t stride, size_t groups, size_t tail) {
    TERCET_NO_UNROLL for (int j = 0; j < NT; ++j) {
      F::widen(rows + j * stride, groups, tail, elements[j][0], elements[j][1]);
    }
  }
};

// Packed codes unpacked to bytes, two tiles of them: while one is multiplied the next is unpacked, since what
// is read right after it was written waits for the store.
//
// Where rows lie one behind the other, NT of them become NT * dim / 64 vectors of 64 bytes, which are
// unpacked between the products, one for every pair of groups: there are dim / 8 pairs. Before the products
// they take their own time, 0.85 of the peak instead of 0.91 (128 dimensions), 0.68 instead of 0.81 (48).
enum class LinedUp {
  not_at_all,
  blocks,  // whole blocks: each becomes a vector
  chunks,  // few dimensions, a multiple of 16: a Chunk says what becomes a vector
};

// 16 words of codes, of one row or several: where they are from, and how far they are rotated to get their
// codes, doubled, to the low ends of bytes.
struct Chunk {
  alignas(64) int32_t word[16], by[16];
  uint32_t offset, words;  // of the first row, in bytes; how many are read from there
};

template <class F>
struct Chunks {
  static constexpr uint32_t kMaxDim = 192;  // 4 KiB of them; with more dimensions there is less to gain
  uint32_t dim = 0;
  bool fit = false;
  Chunk chunks[kMaxDim / 8];

  // Those for rows of so many dimensions; null if there are none.
  static TERCET_NOINLINE const Chunk* of(uint32_t dim, size_t stride) {
    static thread_local Chunks own;
    if (dim % 16 || dim > kMaxDim || stride != row_bytes(F::kFormat, dim)) return nullptr;
    if (own.dim != dim) own.make(dim, stride);
    return own.fit ? own.chunks : nullptr;
  }

 private:
  void make(uint32_t of_dim, size_t stride) {
    dim = of_dim;
    fit = true;
    for (uint32_t c = 0; c < dim / 8; ++c) {
      Chunk& chunk = chunks[c];
      uint32_t first = ~0u, last = 0, from[16];
      for (uint32_t i = 0; i < 16; ++i) {  // four dimensions in a row, whose codes are in one word
        const uint32_t position = c * 64 + i * 4;
        const CodePosition code = code_position(F::kFormat, dim, position % dim);
        from[i] = static_cast<uint32_t>(position / dim * stride) + code.byte;
        chunk.by[i] = static_cast<int32_t>((code.shift + 31) % 32);
        first = from[i] < first ? from[i] : first;
        last = from[i] > last ? from[i] : last;
      }
      chunk.offset = first;
      chunk.words = (last - first) / 4 + 1;
      fit = fit && chunk.words <= 16;
      for (int i = 0; i < 16; ++i) chunk.word[i] = static_cast<int32_t>((from[i] - first) / 4);
    }
  }
};

template <class F, int NT>
struct Unpacked {
  static constexpr bool kCanLineUp = NT * kGroupBytes * 2 == kBlockDims;
  // of a row, with room for what a vector store writes past its end
  static constexpr size_t kRoom = kPanelBlockBytes / F::kPanelGroupBytes * kGroupBytes + 128;
  alignas(64) uint8_t bytes[2][NT * kRoom];
  uint8_t* half[2] = {bytes[0], bytes[1]};  // to be read with fresh()

  const Chunk* chunks = nullptr;

  template <class S>
  TERCET_INLINE LinedUp line_up(const S& sweep) {
    if (!kCanLineUp || sweep.before != 0 || !sweep.last) return LinedUp::not_at_all;
    const uint32_t dim = sweep.rows.dim;
    if (dim % kBlockDims == 0 && sweep.rows.stride == dim / F::kParts) return LinedUp::blocks;
    if constexpr (F::kHasChunks) chunks = Chunks<F>::of(dim, sweep.rows.stride);
    return chunks ? LinedUp::chunks : LinedUp::not_at_all;
  }

  // `groups` groups of NT rows, whose blocks begin at `rows`. Prefetches as many times `fetched` bytes from
  // `ahead`, and returns where these end.
  static TERCET_NOINLINE const uint8_t* fill(uint8_t* to, size_t to_stride, const uint8_t* rows,
                                             size_t stride, size_t groups, size_t fetched,
                                             const uint8_t* ahead) {
    TERCET_NO_UNROLL for (int j = 0; j < NT; ++j) {
      F::unpack(rows + j * stride, groups, to + j * to_stride);
      TERCET_NO_UNROLL for (size_t k = 0; k < fetched; k += 64) prefetch(ahead + k);
      ahead += fetched;
    }
    return ahead;
  }
};

// What accumulate() may do between the products.
struct Nothing {
  TERCET_INLINE void operator()() const {}
};

template <Rows kRows, class F, int NT>
struct PreparedRows {
  struct Type {};
};
template <class F, int NT>
struct PreparedRows<Rows::widened, F, NT> {
  using Type = Widened<F, NT>;
};
template <class F, int NT>
struct PreparedRows<Rows::unpacked, F, NT> {
  using Type = Unpacked<F, NT>;
};

// accumulate() for widened rows.
template <class F, int RT, int NT>
TERCET_INLINE const uint8_t* accumulate_widened(typename F::Acc (&acc)[NT][RT], const uint8_t* panel,
                                                const Widened<F, NT>& wide, size_t groups, size_t tail,
                                                const uint8_t* ahead) {
  const auto element = [&](size_t g, int odd) TERCET_INLINE_LAMBDA {
    typename F::Query q[RT];
    TERCET_UNROLL for (int r = 0; r < RT; ++r) {
      q[r] = F::load_query(panel + (odd * kPanelRows + r * F::kLanes) * 4);
    }
    TERCET_UNROLL for (int j = 0; j < NT; ++j) {
      const typename F::Broadcast b =
          F::broadcast(reinterpret_cast<const uint8_t*>(&wide.elements[j][odd][g]));
      TERCET_UNROLL for (int r = 0; r < RT; ++r) acc[j][r] = F::step(acc[j][r], q[r], b);
    }
  };
  TERCET_NO_UNROLL for (size_t g = 0; g < groups; ++g) {
    element(g, 0);
    element(g, 1);
    panel += F::kPanelGroupBytes;
    prefetch(ahead);
    ahead += kGroupBytes * NT;
  }
  if (tail) element(groups, 0);  // adding a product of zeros would turn -0 into 0
  return ahead;
}
