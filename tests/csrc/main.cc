#include "check.h"
#include "cpu/features.h"

int main() {
  std::printf("levels:");
  for (const tercet::Isa isa : tercet::supported_isas()) std::printf(" %s", tercet::isa_name(isa));
  std::printf("\n");
  int failed = 0;
  for (const check::Case& test : check::cases()) {
    const int before = check::failures;
    test.body();
    const bool ok = check::failures == before;
    failed += !ok;
    std::printf("%s %s\n", ok ? "ok    " : "FAILED", test.name);
  }
  std::printf("%zu passed, %d failed\n", check::cases().size() - static_cast<size_t>(failed), failed);
  return failed != 0;
}
