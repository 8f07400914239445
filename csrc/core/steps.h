// How far a long call is: it counts, and another thread looks.
#pragma once
#include <atomic>
#include <cstddef>

namespace tercet {

struct Steps {
  std::atomic<size_t> done{0}, total{0};
};

}  // namespace tercet
