#include "cpu/features.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/error.h"

#if defined(__x86_64__) || defined(_M_X64)
#define TERCET_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(TERCET_AMX_KERNELS) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(TERCET_ARM_KERNELS) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(TERCET_ARM_KERNELS) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace tercet {
namespace {

#if defined(TERCET_X86)
struct Registers {
  uint32_t eax, ebx, ecx, edx;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
#if defined(_MSC_VER)
  int out[4];
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {static_cast<uint32_t>(out[0]), static_cast<uint32_t>(out[1]), static_cast<uint32_t>(out[2]),
       static_cast<uint32_t>(out[3])};
#else
  __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
#endif
  return r;
}

uint64_t enabled_state() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
#endif
}

bool bit(uint32_t word, int index) { return (word >> index) & 1; }

// Tiles are 8 KiB that Linux saves for a process only once it has asked for that, for all threads and for
// good. It refuses where a thread's alternate signal stack has no room for them: then there are none. Other
// systems have other ways, or none; not written, since not tried.
bool tiles_permitted() {
#if defined(TERCET_AMX_KERNELS) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// cpuid says what the processor has; XCR0 says whether the operating system saves the registers it needs. An
// instruction without the second faults although the first is there.
std::vector<Isa> detect() {
  std::vector<Isa> found{Isa::scalar};
  if (cpuid(0, 0).eax < 7) return found;
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1);
  const bool osxsave = bit(one.ecx, 27);
  const uint64_t state = osxsave ? enabled_state() : 0;
  const bool ymm = (state & 0x06) == 0x06;  // XMM, YMM
  const bool zmm = (state & 0xe6) == 0xe6;  // and the mask registers, ZMM0-15, ZMM16-31

  const bool avx2 = ymm && bit(one.ecx, 28) && bit(one.ecx, 12) && bit(one.ecx, 29) && bit(seven.ebx, 5);
  if (!avx2) return found;
  found.push_back(Isa::avx2);
  const bool avx512 = zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) &&
                      bit(seven.ebx, 31) && bit(seven.ecx, 11);
  if (!avx512) return found;
  found.push_back(Isa::avx512);
  if (seven.eax < 1 || !bit(seven_one.eax, 5)) return found;
  found.push_back(Isa::avx512_bf16);
  const bool tiles = (state & 0x60000) == 0x60000;  // their configuration, their data
  const bool amx = tiles && bit(seven.edx, 24) && bit(seven.edx, 25) && bit(seven.edx, 22);
  if (amx && tiles_permitted()) found.push_back(Isa::amx);
  return found;
}
#elif defined(TERCET_ARM_KERNELS)
// Userland may not ask an Arm processor itself; the operating system tells what it has and allows.
struct Features {
  bool dotprod = false, i8mm = false;
};

#if defined(__linux__)
Features features() {
  // HWCAP_ASIMDDP and HWCAP2_I8MM, fixed by the kernel; older headers do not name the second
  return {(getauxval(AT_HWCAP) >> 20 & 1) != 0, (getauxval(AT_HWCAP2) >> 13 & 1) != 0};
}
#elif defined(__APPLE__)
bool has(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;  // no such name: no such feature
}
Features features() { return {has("hw.optional.arm.FEAT_DotProd"), has("hw.optional.arm.FEAT_I8MM")}; }
#else
Features features() { return {}; }
#endif

std::vector<Isa> detect() {
  const Features has = features();
  std::vector<Isa> found{Isa::scalar};
  if (has.dotprod) found.push_back(Isa::neon);
  if (has.dotprod && has.i8mm) found.push_back(Isa::neon_i8mm);
  return found;
}
#else
std::vector<Isa> detect() { return {Isa::scalar}; }
#endif

std::string names_of(const std::vector<Isa>& isas) {
  std::string text;
  for (Isa isa : isas) text += (text.empty() ? "" : ", ") + std::string(isa_name(isa));
  return text;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::amx:
      return "amx";
    case Isa::neon:
      return "neon";
    case Isa::neon_i8mm:
      return "neon_i8mm";
  }
  return "unknown";
}

const std::vector<Isa>& supported_isas() {
  static const std::vector<Isa> isas = detect();
  return isas;
}

Isa selected_isa() {
  const char* wanted = std::getenv("TERCET_ISA");
  if (!wanted || !*wanted) return supported_isas().back();
  for (Isa isa : supported_isas()) {
    if (isa_name(isa) == std::string_view(wanted)) return isa;
  }
  fail(ErrorKind::value, "TERCET_ISA: expected one of ", names_of(supported_isas()),
       " (what this machine supports), got \"", wanted, "\"");
}

}  // namespace tercet
