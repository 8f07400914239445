// The smallest test harness that does: TEST registers, CHECK counts and reports. The native tests exist to
// run the core under sanitizers without Python, and must build wherever the library does.
#pragma once
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace check {

struct Case {
  std::string name;
  std::function<void()> body;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int failures = 0;

struct Register {
  Register(std::string name, std::function<void()> body) {
    cases().push_back({std::move(name), std::move(body)});
  }
};

}  // namespace check

#define TEST(name)                                            \
  static void test_##name();                                  \
  static check::Register register_##name(#name, test_##name); \
  static void test_##name()

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      ++check::failures;                                                        \
      std::printf("%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                           \
  } while (0)

#define CHECK_FAILS(expression, part)                                                             \
  do {                                                                                            \
    std::string message = "no error";                                                             \
    try {                                                                                         \
      expression;                                                                                 \
    } catch (const tercet::Error& e) {                                                            \
      message = e.what();                                                                         \
    }                                                                                             \
    if (message.find(part) == std::string::npos) {                                                \
      ++check::failures;                                                                          \
      std::printf("%s:%d: expected an error with \"%s\", got \"%s\"\n", __FILE__, __LINE__, part, \
                  message.c_str());                                                               \
    }                                                                                             \
  } while (0)
