// Chooses the table. Compiled with the baseline flags, as everything but the level files.
#include <algorithm>

#include "core/error.h"
#include "cpu/features.h"
#include "kernels/selfcheck.h"
#include "kernels/tables.h"

namespace tercet {

#if defined(TERCET_X86_KERNELS)
namespace {

Kernels avx512_bf16_table() {
  Kernels t = kAvx512Kernels;
  t.isa = Isa::avx512_bf16;
  t.panels[static_cast<int>(Format::bfloat16)] = kAvx512Bfloat16Panels;
  return t;
}

}  // namespace

Kernels amx_table(const AmxPanels& panels) {
  Kernels t = avx512_bf16_table();
  t.isa = Isa::amx;
  t.panels[static_cast<int>(Format::bfloat16)] = panels.bfloat16;
  t.panels[static_cast<int>(Format::int8)] = panels.int8;
  t.panels[static_cast<int>(Format::int4)] = panels.int4;
  t.panels[static_cast<int>(Format::int2)] = panels.int2;
  t.panels[static_cast<int>(Format::int1)] = panels.int1;
  return t;
}
#endif

const Kernels& kernels_for(Isa isa) {
  const auto& supported = supported_isas();
  require(std::find(supported.begin(), supported.end(), isa) != supported.end(), "this machine has no ",
          isa_name(isa));
  switch (isa) {
#if defined(TERCET_X86_KERNELS)
    case Isa::avx2:
      return kAvx2Kernels;
    case Isa::avx512:
      return kAvx512Kernels;
    case Isa::avx512_bf16: {
      static const Kernels table = avx512_bf16_table();
      return table;
    }
#endif
#if defined(TERCET_AMX_KERNELS)
    case Isa::amx: {
      static const Kernels table = amx_table(kAmxPanels);
      return table;
    }
#endif
#if defined(TERCET_ARM_KERNELS)
    case Isa::neon:
      return kNeonKernels;
    case Isa::neon_i8mm: {
      static const Kernels table = [] {
        Kernels t = kNeonKernels;
        t.isa = Isa::neon_i8mm;
        t.panels[static_cast<int>(Format::int8)] = kNeonI8mmInt8Panels;
        t.pair_int8 = pair_int8_neon_i8mm;
        return t;
      }();
      return table;
    }
#endif
    default:
      return kScalarKernels;
  }
}

const CheckedKernels& checked_kernels() {
  static const CheckedKernels checked([] {
    std::vector<const Kernels*> levels;
    for (const Isa isa : supported_isas()) {
      levels.insert(levels.begin(), &kernels_for(isa));
      if (isa == selected_isa()) break;
    }
    return levels;
  }());
  return checked;
}

const Kernels& kernels() {
  static const Kernels& table = checked_kernels().table();
  return table;
}

}  // namespace tercet
