// The instruction peak of a format: its multiply-add on registers. Included by panel-inl.h.

template <class Vector>
TERCET_INLINE void opaque(Vector& v) {
  if constexpr (requires { v.even; }) {
    __asm__ volatile("" : TERCET_VECTOR_REGISTER(v.even), TERCET_VECTOR_REGISTER(v.odd));
  } else {
    __asm__ volatile("" : TERCET_VECTOR_REGISTER(v));
  }
}

template <class F>
size_t peak(size_t rounds) noexcept {
  constexpr int kChains = F::kLanes == 8 ? 10 : 20;  // accumulators beside what a step needs
  alignas(64) const uint8_t zeros[kPanelRows * kGroupBytes] = {};
  typename F::Acc acc[kChains] = {};
  typename F::Query q = F::load_query(zeros);
  const typename F::Broadcast b = F::broadcast(zeros);
  for (size_t n = 0; n < rounds; ++n) {
    TERCET_UNROLL for (int i = 0; i < kChains; ++i) {
      acc[i] = F::step(acc[i], q, b);
      // keeps every step and all of it: the accumulator in a register, the query of unknown value
      __asm__ volatile("" : TERCET_VECTOR_REGISTER(acc[i]));
      opaque(q);
    }
  }
  return rounds * kChains * F::kLanes * kGroupBytes / (F::kRows == Rows::widened ? 4 : F::kElementBytes);
}
