// A warp in plain C++, for kernels of csrc/cuda: included before them, in place of a CUDA compiler.
//
// The threads of a block are fibers, which run one at a time until they meet: at a collective those of a
// warp, at a barrier all. A warp goes from one barrier to the next before another has its turn, and warps go
// forwards or backwards, so that what lacks a barrier is wrong in one of the two orders. Who reaches another
// operation than the rest, or does not come, aborts the test. Blocks run one after the other. The
// instructions are as the PTX ISA defines their fragments; memory is the processor's own, so that sanitizers
// see every access.
#pragma once
#define TERCET_CUDA_EMULATED
#define TERCET_DEVICE inline
#define TERCET_KERNEL(threads, blocks) void
#define TERCET_UNROLL
#define TERCET_ROLLED

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace tercet::cuda {

namespace emulator {

// Where the fiber that runs is.
struct Place {
  uint32_t thread, threads, block_x, block_y, blocks_y;
};
const Place& place();
uint8_t* shared_bytes();

// Waits for all lanes of the warp; the last one calls complete() with the arguments of all 32, in order.
void meet_warp(void* arguments, void (*complete)(void* const* arguments));
void meet_block();

// In which order warps, and their lanes, get their turn.
void run_backwards(bool backwards);
void run(uint32_t grid_x, uint32_t grid_y, uint32_t threads, size_t shared_bytes,
         const std::function<void()>& kernel);
size_t launches();  // so far

template <class T>
struct Exchange {
  T value;
  uint32_t source;
};
template <class T>
T exchange(T value, uint32_t source) {
  Exchange<T> own{value, source};
  meet_warp(&own, [](void* const* all) {
    T values[32];
    for (int i = 0; i < 32; ++i) values[i] = static_cast<Exchange<T>*>(all[i])->value;
    for (int i = 0; i < 32; ++i) {
      auto* const to = static_cast<Exchange<T>*>(all[i]);
      to->value = values[to->source % 32];
    }
  });
  return own.value;
}

}  // namespace emulator

TERCET_DEVICE uint32_t thread() { return emulator::place().thread; }
TERCET_DEVICE uint32_t threads() { return emulator::place().threads; }
TERCET_DEVICE uint32_t block_x() { return emulator::place().block_x; }
TERCET_DEVICE uint32_t block_y() { return emulator::place().block_y; }
TERCET_DEVICE uint32_t blocks_y() { return emulator::place().blocks_y; }

template <int kCount>
struct alignas(4 * kCount) Words {
  uint32_t at[kCount];
};
template <class T>
T load_streamed(const T* p) {
  return *p;
}
template <class T>
T load_constant(const T* p) {
  return *p;
}
template <class T>
T* shared_memory() {
  return reinterpret_cast<T*>(emulator::shared_bytes());
}
TERCET_DEVICE uint32_t atomic_add(uint32_t* p, uint32_t x) { return (*p += x) - x; }
TERCET_DEVICE uint32_t atomic_max(uint32_t* p, uint32_t x) {
  const uint32_t before = *p;
  *p = x > before ? x : before;
  return before;
}

TERCET_DEVICE void synchronise_block() { emulator::meet_block(); }
TERCET_DEVICE void synchronise_warp() {
  emulator::meet_warp(nullptr, [](void* const*) {});
}
template <class T>
T shuffle(T x, uint32_t lane) {
  return emulator::exchange(x, lane);
}
template <class T>
T shuffle_xor(T x, uint32_t mask) {
  return emulator::exchange(x, emulator::place().thread ^ mask);
}
uint32_t ballot(bool x);
void multiply_add(int32_t (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

TERCET_DEVICE float add(float a, float b) { return a + b; }
TERCET_DEVICE float subtract(float a, float b) { return a - b; }
TERCET_DEVICE float multiply(float a, float b) { return a * b; }
TERCET_DEVICE float divide(float a, float b) { return a / b; }
TERCET_DEVICE float square_root(float a) { return std::sqrt(a); }
TERCET_DEVICE float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
TERCET_DEVICE double add(double a, double b) { return a + b; }
TERCET_DEVICE double multiply(double a, double b) { return a * b; }
TERCET_DEVICE double divide(double a, double b) { return a / b; }
TERCET_DEVICE double square_root(double a) { return std::sqrt(a); }
TERCET_DEVICE float as_float(int32_t x) { return static_cast<float>(x); }
TERCET_DEVICE float round_to_even(float x) { return std::nearbyint(x); }
TERCET_DEVICE float larger(float a, float b) { return std::fmax(a, b); }
TERCET_DEVICE float bits_as_float(uint32_t x) { return std::bit_cast<float>(x); }
TERCET_DEVICE uint32_t float_as_bits(float x) { return std::bit_cast<uint32_t>(x); }
TERCET_DEVICE uint32_t count_bits(uint32_t x) { return static_cast<uint32_t>(std::popcount(x)); }
TERCET_DEVICE uint32_t lowest_bit(uint32_t x) { return static_cast<uint32_t>(std::countr_zero(x)); }

using Stream = void*;

template <class Arguments>
void launch(void (*kernel)(Arguments), uint32_t grid_x, uint32_t grid_y, uint32_t threads,
            size_t shared_bytes, Stream, const Arguments& arguments) {
  emulator::run(grid_x, grid_y, threads, shared_bytes, [&] { kernel(arguments); });
}

}  // namespace tercet::cuda
