// The levels of instructions that kernels are written for. Alone in its file, because kernel files include it
// and must not see inline code (see kernels/panel-inl.h).
#pragma once

namespace tercet {

// In ascending order for each architecture; the kernels of a level may use everything its line says.
enum class Isa {
  scalar,       // portable C++, baseline flags
  avx2,         // AVX2 and FMA
  avx512,       // AVX-512 F BW DQ VL and VNNI
  avx512_bf16,  // and AVX512_BF16
  amx,          // and AMX-TILE, AMX-INT8, AMX-BF16; Linux alone
  neon,         // ASIMD with the dot products of Armv8.2 (SDOT)
  neon_i8mm,    // and those of unsigned with signed bytes (USDOT, SUDOT)
};

}  // namespace tercet
