// All that kernels know of the machine they run on: where a thread is, what lanes of a warp do together, and
// arithmetic that nobody may contract. This is the one file with intrinsics and PTX.
//
// Without a CUDA compiler the same names come from an emulator, which is included before this file: then the
// kernels are C++ functions that tests run on any processor.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define TERCET_DEVICE __device__ __forceinline__
// Blocks of `threads`, of which a multiprocessor has to hold `blocks`: caps the registers of a thread.
#define TERCET_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define TERCET_UNROLL _Pragma("unroll")
#define TERCET_ROLLED _Pragma("unroll 1")

namespace tercet::cuda {

// ---- where a thread is

TERCET_DEVICE uint32_t thread() { return threadIdx.x; }
TERCET_DEVICE uint32_t threads() { return blockDim.x; }
TERCET_DEVICE uint32_t block_x() { return blockIdx.x; }
TERCET_DEVICE uint32_t block_y() { return blockIdx.y; }
TERCET_DEVICE uint32_t blocks_y() { return gridDim.y; }

// ---- memory

// Words that are loaded at once, from an address that is a multiple of their size.
template <int kCount>
struct alignas(4 * kCount) Words {
  uint32_t at[kCount];
};

// What is read once: it should be the first to leave the caches.
TERCET_DEVICE Words<1> load_streamed(const Words<1>* p) {
  return {{__ldcs(reinterpret_cast<const uint32_t*>(p))}};
}
TERCET_DEVICE Words<2> load_streamed(const Words<2>* p) {
  const uint2 x = __ldcs(reinterpret_cast<const uint2*>(p));
  return {{x.x, x.y}};
}
TERCET_DEVICE Words<4> load_streamed(const Words<4>* p) {
  const uint4 x = __ldcs(reinterpret_cast<const uint4*>(p));
  return {{x.x, x.y, x.z, x.w}};
}
// What no one writes while the kernel runs.
TERCET_DEVICE Words<4> load_constant(const Words<4>* p) {
  const uint4 x = __ldg(reinterpret_cast<const uint4*>(p));
  return {{x.x, x.y, x.z, x.w}};
}
template <class T>
TERCET_DEVICE T load_constant(const T* p) {
  return __ldg(p);
}

// The memory that a block's threads share, as much as the launch gave it.
template <class T>
TERCET_DEVICE T* shared_memory() {
  extern __shared__ __align__(16) unsigned char tercet_shared_bytes[];
  return reinterpret_cast<T*>(tercet_shared_bytes);
}
TERCET_DEVICE uint32_t atomic_add(uint32_t* p, uint32_t x) { return atomicAdd(p, x); }
TERCET_DEVICE uint32_t atomic_max(uint32_t* p, uint32_t x) { return atomicMax(p, x); }

// ---- all threads of a block, or all lanes of a warp

TERCET_DEVICE void synchronise_block() { __syncthreads(); }
// Brings lanes together again that took different ways.
TERCET_DEVICE void synchronise_warp() { __syncwarp(); }

template <class T>
TERCET_DEVICE T shuffle(T x, uint32_t lane) {
  return __shfl_sync(~0u, x, static_cast<int>(lane));
}
template <class T>
TERCET_DEVICE T shuffle_xor(T x, uint32_t mask) {
  return __shfl_xor_sync(~0u, x, static_cast<int>(mask));
}
TERCET_DEVICE uint32_t ballot(bool x) { return __ballot_sync(~0u, x); }

// 16 rows by 8 columns of sums += rows of A [16][32 bytes, unsigned] times columns of B [32 bytes,
// signed][8]. With g = lane / 4 and t = lane % 4, a lane has of A: row g bytes 4 t to 4 t + 3, row g + 8 the
// same, and bytes 16 + 4 t to 16 + 4 t + 3 of both; of B: the same bytes of column g; of the sums: row g
// columns 2 t and 2 t + 1, and row g + 8 the same.
TERCET_DEVICE void multiply_add(int32_t (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same with 16 bfloat16 in place of 32 bytes, summed in float32, in an order that is the machine's.
TERCET_DEVICE void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- arithmetic, each rounded once, to nearest

TERCET_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
TERCET_DEVICE float subtract(float a, float b) { return __fsub_rn(a, b); }
TERCET_DEVICE float multiply(float a, float b) { return __fmul_rn(a, b); }
TERCET_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
TERCET_DEVICE float square_root(float a) { return __fsqrt_rn(a); }
TERCET_DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
TERCET_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
TERCET_DEVICE double multiply(double a, double b) { return __dmul_rn(a, b); }
TERCET_DEVICE double divide(double a, double b) { return __ddiv_rn(a, b); }
TERCET_DEVICE double square_root(double a) { return __dsqrt_rn(a); }
TERCET_DEVICE float as_float(int32_t x) { return __int2float_rn(x); }
TERCET_DEVICE float round_to_even(float x) { return rintf(x); }
// The larger; a NaN is ignored.
TERCET_DEVICE float larger(float a, float b) { return fmaxf(a, b); }

TERCET_DEVICE float bits_as_float(uint32_t x) { return __uint_as_float(x); }
TERCET_DEVICE uint32_t float_as_bits(float x) { return __float_as_uint(x); }
TERCET_DEVICE uint32_t count_bits(uint32_t x) { return static_cast<uint32_t>(__popc(x)); }
TERCET_DEVICE uint32_t lowest_bit(uint32_t x) {
  return static_cast<uint32_t>(__ffs(static_cast<int>(x)) - 1);
}

// ---- launches

using Stream = cudaStream_t;

// Runs a kernel of one argument. Errors of launches are asked for once, after the last of a call.
template <class Arguments>
void launch(void (*kernel)(Arguments), uint32_t grid_x, uint32_t grid_y, uint32_t threads,
            size_t shared_bytes, Stream stream, const Arguments& arguments) {
  kernel<<<dim3(grid_x, grid_y), threads, shared_bytes, stream>>>(arguments);
}

}  // namespace tercet::cuda

#elif !defined(TERCET_CUDA_EMULATED)
#error "csrc/cuda is compiled by nvcc, or after an emulator of a warp"
#endif

namespace tercet::cuda {

constexpr uint32_t kWarp = 32;

TERCET_DEVICE uint32_t lane() { return thread() % kWarp; }
TERCET_DEVICE uint32_t warp() { return thread() / kWarp; }

}  // namespace tercet::cuda
