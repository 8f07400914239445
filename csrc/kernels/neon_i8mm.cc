// Dot products of unsigned with signed bytes: rows are multiplied as stored, excess-128, where SDOT alone
// costs an exclusive or for each of their groups. Everything but int8 is neon's: the codes of packed formats
// are small enough for either sign. (USMMLA has twice the products, but of 2 x 8 by 8 x 2 bytes: pairs of
// rows, and another panel.)
#include <arm_neon.h>

#include "kernels/compiler.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

#include "kernels/simd_neon-inl.h"

#include "kernels/panel-inl.h"

#include "kernels/few-inl.h"

struct Int8 : Scaled {
  using Broadcast = uint8x8_t;  // its first four bytes
  static constexpr Rows kRows = Rows::stored;
  static TERCET_INLINE Broadcast broadcast(const uint8_t* p) { return vreinterpret_u8_u64(element(p)); }
  static TERCET_INLINE Broadcast broadcast_tail(const uint8_t* p, size_t bytes) {
    return vreinterpret_u8_u64(tail_element(p, bytes));
  }
  static TERCET_INLINE Acc step(Acc acc, Query q, Broadcast b) { return vsudotq_lane_s32(acc, q, b, 0); }
  static TERCET_INLINE uint8x16_t load_rows(const uint8_t* p) { return vld1q_u8(p); }
  static TERCET_INLINE Acc step(Acc acc, Query q, uint8x16_t rows) { return vusdotq_s32(acc, rows, q); }
};

}  // namespace

const PanelKernels kNeonI8mmInt8Panels = panel_kernels<Int8>("neon sudot", pack_integers<Format::int8>);

int32_t pair_int8_neon_i8mm(const int8_t* query, const uint8_t* row, size_t dim) noexcept {
  int32x4_t sum = vdupq_n_s32(0);
  size_t k = 0;
  for (; k + 16 <= dim; k += 16) sum = vusdotq_s32(sum, vld1q_u8(row + k), vld1q_s8(query + k));
  int32_t total = vaddvq_s32(sum);
  for (; k < dim; ++k) total += query[k] * row[k];
  return total;
}

}  // namespace tercet
