#include "emulator.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace tercet::cuda {
namespace emulator {
namespace {

constexpr uint32_t kLanes = 32;
constexpr size_t kStack = 256 << 10;

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "emulated kernel: %s\n", what);
  std::abort();
}

// Where a fiber, or who runs them, goes on. ucontext makes stacks; changing between them is left to the
// compiler's jumps, since swapcontext asks the kernel about signals each time. The rest AddressSanitizer
// wants to know.
struct Context {
  ucontext_t first;
  void* jump[5];
  bool started = false;
  const void* bottom = nullptr;
  size_t size = 0;
  void* fake_stack = nullptr;
};

[[noreturn, gnu::noinline]] void go(Context& to) {
  if (!to.started) {
    to.started = true;
    setcontext(&to.first);
  }
  __builtin_longjmp(to.jump, 1);
}

[[gnu::noinline]] void change(Context& from, Context& to, [[maybe_unused]] bool leaving = false) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(leaving ? nullptr : &from.fake_stack, to.bottom, to.size);
#endif
  from.started = true;
  if (!__builtin_setjmp(from.jump)) go(to);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// Those who wait for each other.
struct Meeting {
  uint32_t arrived = 0, generation = 0;
  void* arguments[kLanes] = {};
  void (*complete)(void* const*) = nullptr;
};

struct Fiber {
  Context context;
  std::unique_ptr<uint8_t[]> stack = std::make_unique<uint8_t[]>(kStack);
  Place place{};
  bool done = false;
  const Meeting* waits_for = nullptr;
  uint32_t generation = 0;
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Meeting> warps;
  Meeting block;
  uint32_t threads = 0;
  uint8_t* shared = nullptr;
  const std::function<void()>* kernel = nullptr;
  Context scheduler;
  Fiber* current = nullptr;
  bool backwards = false;
};
thread_local Machine machine;

void fiber_main() {
  Machine& m = machine;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &m.scheduler.bottom, &m.scheduler.size);
#endif
  (*m.kernel)();
  m.current->done = true;
  change(m.current->context, m.scheduler, true);
}

// Returns once `needed` have come. True for the last of them.
bool meet(Meeting& meeting, uint32_t needed, const std::function<void()>& last) {
  Machine& m = machine;
  if (++meeting.arrived == needed) {
    last();
    meeting.arrived = 0;
    ++meeting.generation;
    return true;
  }
  Fiber* const own = m.current;
  own->waits_for = &meeting;
  own->generation = meeting.generation;
  change(own->context, m.scheduler);
  own->waits_for = nullptr;
  return false;
}

// Gives each lane of a warp a turn. False if none could move.
bool run_warp(Machine& m, uint32_t warp, uint32_t* left) {
  bool moved = false;
  for (uint32_t i = 0; i < kLanes; ++i) {
    Fiber& f = *m.fibers[warp * kLanes + (m.backwards ? kLanes - 1 - i : i)];
    if (f.done || (f.waits_for && f.waits_for->generation == f.generation)) continue;
    m.current = &f;
    change(m.scheduler, f.context);
    moved = true;
    *left -= f.done;
  }
  return moved;
}

void run_block(uint32_t threads) {
  Machine& m = machine;
  for (uint32_t i = 0; i < threads; ++i) {
    Fiber& f = *m.fibers[i];
    f.done = false;
    f.waits_for = nullptr;
    Context& c = f.context;
    getcontext(&c.first);
    c.first.uc_stack.ss_sp = f.stack.get();
    c.first.uc_stack.ss_size = kStack;
    c.first.uc_link = nullptr;
    makecontext(&c.first, fiber_main, 0);
    c.started = false;
    c.bottom = f.stack.get();
    c.size = kStack;
  }
  // Each warp runs as far as it gets, to a barrier or the end, before the next one has its turn.
  uint32_t left = threads;
  while (left) {
    bool moved = false;
    for (uint32_t i = 0; i < threads / kLanes; ++i) {
      const uint32_t warp = m.backwards ? threads / kLanes - 1 - i : i;
      while (run_warp(m, warp, &left)) moved = true;
    }
    if (!moved) stop("threads wait for others that have ended or wait elsewhere");
  }
}

}  // namespace

const Place& place() { return machine.current->place; }
uint8_t* shared_bytes() { return machine.shared; }
void run_backwards(bool backwards) { machine.backwards = backwards; }

void meet_warp(void* arguments, void (*complete)(void* const*)) {
  const uint32_t thread = place().thread;
  Meeting& meeting = machine.warps[thread / kLanes];
  if (meeting.arrived && meeting.complete != complete) stop("lanes of a warp are at different operations");
  meeting.complete = complete;
  meeting.arguments[thread % kLanes] = arguments;
  meet(meeting, kLanes, [&] { complete(meeting.arguments); });
}

void meet_block() {
  meet(machine.block, machine.threads, [] {});
}

size_t launched = 0;
size_t launches() { return launched; }

void run(uint32_t grid_x, uint32_t grid_y, uint32_t threads, size_t shared_bytes,
         const std::function<void()>& kernel) {
  Machine& m = machine;
  ++launched;
  if (threads % kLanes || threads > 1024 || grid_y > 65535 || !grid_x || !grid_y || shared_bytes > 48 << 10)
    stop("a launch that no device takes");
  while (m.fibers.size() < threads) m.fibers.push_back(std::make_unique<Fiber>());
  m.kernel = &kernel;
  m.threads = threads;
  for (uint32_t y = 0; y < grid_y; ++y) {
    for (uint32_t x = 0; x < grid_x; ++x) {
      // Exactly as much as was asked for, and nothing sensible in it.
      const std::unique_ptr<uint8_t[]> shared(new uint8_t[shared_bytes]);
      std::memset(shared.get(), 0xa5, shared_bytes);
      m.shared = shared.get();
      m.warps.assign(threads / kLanes, Meeting());
      m.block = Meeting();
      for (uint32_t i = 0; i < threads; ++i) m.fibers[i]->place = {i, threads, x, y, grid_y};
      run_block(threads);
    }
  }
}

}  // namespace emulator

uint32_t ballot(bool x) {
  uint32_t own = x;
  emulator::meet_warp(&own, [](void* const* all) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; ++i) bits |= *static_cast<uint32_t*>(all[i]) << i;
    for (int i = 0; i < 32; ++i) *static_cast<uint32_t*>(all[i]) = bits;
  });
  return own;
}

namespace {

template <class Sum>
struct Operands {
  Sum* sums;
  const uint32_t* a;
  uint32_t b[2];
};

// Calls f(sum, a, b) for each sum, with the words of its row of A and column of B, 8 of each: those that
// lanes hold of row g are a[0] and a[2], of row g + 8 a[1] and a[3]; first all four lanes' first words, then
// all second ones.
template <class Sum, class F>
void multiply_all(void* const* lanes, F f) {
  const auto at = [&](uint32_t lane) { return static_cast<const Operands<Sum>*>(lanes[lane]); };
  for (uint32_t row = 0; row < 16; ++row) {
    for (uint32_t column = 0; column < 8; ++column) {
      uint32_t a[8], b[8];
      for (uint32_t i = 0; i < 8; ++i) {
        a[i] = at(row % 8 * 4 + i % 4)->a[i / 4 * 2 + row / 8];
        b[i] = at(column * 4 + i % 4)->b[i / 4];
      }
      f(at(row % 8 * 4 + column / 2)->sums[row / 8 * 2 + column % 2], a, b);
    }
  }
}

}  // namespace

void multiply_add(int32_t (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Operands<int32_t> own{sums, a, {b0, b1}};
  emulator::meet_warp(&own, [](void* const* lanes) {
    multiply_all<int32_t>(lanes, [](int32_t& sum, const uint32_t* x, const uint32_t* y) {
      auto total = static_cast<uint32_t>(sum);  // wraps
      for (int k = 0; k < 32; ++k) {
        const int32_t u = x[k / 4] >> k % 4 * 8 & 255, s = static_cast<int8_t>(y[k / 4] >> k % 4 * 8);
        total += static_cast<uint32_t>(u * s);
      }
      sum = static_cast<int32_t>(total);
    });
  });
}

void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Operands<float> own{sums, a, {b0, b1}};
  emulator::meet_warp(&own, [](void* const* lanes) {
    multiply_all<float>(lanes, [](float& sum, const uint32_t* x, const uint32_t* y) {
      double total = sum;
      for (int k = 0; k < 16; ++k) {
        const auto value = [&](uint32_t word) { return std::bit_cast<float>(word >> k % 2 * 16 << 16); };
        total += static_cast<double>(value(x[k / 2])) * value(y[k / 2]);
      }
      sum = static_cast<float>(total);
    });
  });
}

}  // namespace tercet::cuda
