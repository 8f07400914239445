// Rows that are not multiplied as they are stored: a tile of them is prepared in L1 first, which costs a few
// operations for a vector of elements, where preparing what is broadcast would cost them for every group.
// Included by panel-inl.h.

enum class Rows {
  stored,   // multiplied as they are
  widened,  // bfloat16 without bfloat16 instructions: to float32
  nibbles,  // int4: to the bytes of int8
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

// int4 rows unpacked to excess-128 bytes, groups [first, first + count) of each.
template <class F, int NT>
struct Nibbles {
  // room for what a vector store writes past the end of either half
  static constexpr size_t kStride = kPanelBlockBytes / F::kPanelGroupBytes * kGroupBytes + 128;
  alignas(64) uint8_t bytes[NT][kStride];

  TERCET_NOINLINE void fill(const uint8_t* rows, size_t stride, size_t dim, size_t first, size_t count) {
    // Groups up to `half` are low nibbles, those from there on high ones.
    const size_t half = (dim + 7) / 8, end = first + count;
    const size_t low = first < half ? (end < half ? end : half) - first : 0;
    const size_t skip = first < half ? 0 : first - half;  // groups of high nibbles before the block
    TERCET_NO_UNROLL for (int j = 0; j < NT; ++j) {
      const uint8_t* const row = rows + j * stride;
      F::template unpack<false>(row + first * kGroupBytes, low * kGroupBytes, bytes[j]);
      F::template unpack<true>(row + skip * kGroupBytes, (count - low) * kGroupBytes,
                               bytes[j] + low * kGroupBytes);
    }
  }
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
struct PreparedRows<Rows::nibbles, F, NT> {
  using Type = Nibbles<F, NT>;
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
