// AVX512_BF16: two bfloat16 products a lane and instruction. VDPBF16PS adds the products of a pair one after
// the other, rounds each to nearest even and flushes subnormals, so its last place may differ from the
// float32 arithmetic of the other levels.
#include <immintrin.h>

#include "kernels/compiler.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

#include "kernels/simd_avx512-inl.h"

#include "kernels/panel-inl.h"

#include "kernels/few-inl.h"

struct Bfloat16 : Unscaled {
  using Query = __m512i;
  using Broadcast = __m512i;
  static constexpr size_t kElementBytes = 2, kPanelGroupBytes = kPanelRows * 4;
  static constexpr Rows kRows = Rows::stored;
  static TERCET_INLINE Query load_query(const uint8_t* p) { return _mm512_load_si512(p); }
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return broadcast_group(p); }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t bytes) {
    return _mm512_set1_epi32(tail_group(p, bytes));
  }
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)q, (__m512bh)b);
  }
  static TERCET_INLINE Query spread(const uint8_t* p) { return broadcast_group(p); }
  static TERCET_INLINE Broadcast load_rows(const uint8_t* p) { return _mm512_load_si512(p); }
};

}  // namespace

const PanelKernels kAvx512Bfloat16Panels = panel_kernels<Bfloat16>("avx512 bf16", pack_bfloat16_pairs);

}  // namespace tercet
