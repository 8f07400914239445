// What each level's file exports: one table, or what it adds to the table below it.
#pragma once
#include "kernels/kernels.h"

namespace tercet {

extern const Kernels kScalarKernels;
#if defined(TERCET_X86_KERNELS)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const PanelKernels kAvx512Bfloat16Panels;  // avx512_bf16 is avx512 with these
#endif

}  // namespace tercet
