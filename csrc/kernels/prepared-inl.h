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
// Where rows are whole blocks and lie one behind the other, NT of them are one row of blocks. These are
// unpacked between the products, one for every pair of groups: NT * dim / 64 blocks fit dim / 8 pairs. Before
// the products they take their own time, 0.85 of the peak instead of 0.89 (128 dimensions).
template <class F, int NT>
struct Unpacked {
  static constexpr bool kCanLineUp = NT * kGroupBytes * 2 == kBlockDims;
  // of a row, with room for what a vector store writes past its end
  static constexpr size_t kRoom = kPanelBlockBytes / F::kPanelGroupBytes * kGroupBytes + 128;
  alignas(64) uint8_t bytes[2][NT * kRoom];

  template <class S>
  static TERCET_INLINE bool lines_up(const S& sweep) {
    const size_t dim = sweep.rows.dim;
    return kCanLineUp && sweep.before == 0 && sweep.last && dim % kBlockDims == 0 &&
           sweep.rows.stride == dim / F::kParts;
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
