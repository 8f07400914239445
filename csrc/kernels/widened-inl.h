// What the panel kernel does with bfloat16 where there is no bfloat16 instruction: a tile of rows is widened
// to float32 first. Included by panel-inl.h.

// bfloat16 rows widened to float32, in L1: each row's even elements, then its odd ones.
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

template <bool kWidened, class F, int NT>
struct WidenedIf {
  struct Rows {};
};
template <class F, int NT>
struct WidenedIf<true, F, NT> {
  using Rows = Widened<F, NT>;
};

// accumulate() for them.
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
