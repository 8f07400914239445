// Runs the tests; `csrc_tests 2/3`, those whose turn it is if three processes share them.
#include <cstdlib>

#include "check.h"
#include "cpu/features.h"

int main(int argc, char** argv) {
  size_t part = 1, parts = 1;
  if (argc > 1 && (std::sscanf(argv[1], "%zu/%zu", &part, &parts) != 2 || part < 1 || part > parts)) {
    std::fprintf(stderr, "usage: %s [PART/PARTS]\n", argv[0]);
    return 2;
  }
  std::printf("levels:");
  for (const tercet::Isa isa : tercet::supported_isas()) std::printf(" %s", tercet::isa_name(isa));
  std::printf("\n");
  int run = 0, failed = 0;
  for (size_t i = part - 1; i < check::cases().size(); i += parts) {
    const check::Case& test = check::cases()[i];
    const int before = check::failures;
    test.body();
    const bool ok = check::failures == before;
    ++run;
    failed += !ok;
    std::printf("%s %s\n", ok ? "ok    " : "FAILED", test.name.c_str());
  }
  std::printf("%d passed, %d failed\n", run - failed, failed);
  return failed != 0 || run == 0;
}
