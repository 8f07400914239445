// What kernels ask of the compiler. Macros only.
#pragma once

#define TERCET_INLINE inline __attribute__((always_inline))
#define TERCET_INLINE_LAMBDA __attribute__((always_inline))
#define TERCET_NOINLINE __attribute__((noinline))
// Arrays of vectors become registers only when every loop over them is unrolled.
#define TERCET_UNROLL _Pragma("GCC unroll 32")
#define TERCET_NO_UNROLL _Pragma("GCC unroll 1")
// The constraint of a vector register in inline assembly.
#if defined(__aarch64__)
#define TERCET_VECTOR_REGISTER "+w"
#else
#define TERCET_VECTOR_REGISTER "+v"
#endif
