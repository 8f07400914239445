// What each level's file exports: one table, or what it adds to the table below it.
#pragma once
#include "kernels/kernels.h"

namespace tercet {

extern const Kernels kScalarKernels;
#if defined(TERCET_X86_KERNELS)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const PanelKernels kAvx512Bfloat16Panels;  // avx512_bf16 is avx512 with these

// amx is avx512_bf16 with these
struct AmxPanels {
  PanelKernels bfloat16, int8, int4, int2, int1;
};
extern const AmxPanels kAmxPanels;
Kernels amx_table(const AmxPanels& panels);
#endif
#if defined(TERCET_ARM_KERNELS)
extern const Kernels kNeonKernels;
extern const PanelKernels kNeonI8mmInt8Panels;  // neon_i8mm is neon with these, and this pair
int32_t pair_int8_neon_i8mm(const int8_t* query, const uint8_t* excess_row, size_t dim) noexcept;
#endif

}  // namespace tercet
