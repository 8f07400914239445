// Binds queries on the device, with the bits of csrc/codec: rotated where codes are packed, quantised to int8
// or rounded to bfloat16, and put where the operands of the instructions are read. A block binds one query
// row; what a sum's order decides, one thread adds up.
#pragma once
#include "core/random.h"
#include "cuda/fragments.cuh"
#include "cuda/warp.cuh"

namespace tercet::cuda {

constexpr uint32_t kBindThreads = 128;
constexpr uint32_t kMaxDim = 8192;  // of a device; a row has to fit into the memory of a block

enum class Element : uint32_t { float32, bfloat16, float16 };  // of queries

struct BindArguments {
  const void* values;  // [queries][tokens][dim]
  Element element;
  uint32_t tokens;
  const uint32_t* lengths;  // of queries, in tokens; null: all
  uint32_t panels_each;     // of a query
  uint32_t dim;
  bool normalised;  // to length 1
  uint64_t seed;    // of the rotation of packed codes
  uint32_t* words;  // as Panels has them
  int32_t* start;
  float* scales;
};

constexpr size_t bind_shared(uint32_t dim) { return dim * (sizeof(float) + 1) + 64; }

TERCET_DEVICE float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 0) {  // a multiple of 2^-24
    const float size = multiply(as_float(static_cast<int32_t>(fraction)), 0x1p-24f);
    return bits_as_float(float_as_bits(size) | sign);
  }
  return bits_as_float(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
}

TERCET_DEVICE float element_at(const void* values, Element element, uint64_t i) {
  if (element == Element::float32) return static_cast<const float*>(values)[i];
  const uint16_t bits = static_cast<const uint16_t*>(values)[i];
  return element == Element::bfloat16 ? bits_as_float(uint32_t{bits} << 16) : half_to_float(bits);
}

// As csrc/index/metric.h: the sum in float64, in the order of the dimensions.
TERCET_DEVICE void normalise(float* row, uint32_t dim, double* norm) {
  if (thread() == 0) {
    double sum = 0;
    for (uint32_t k = 0; k < dim; ++k)
      sum = add(sum, multiply(static_cast<double>(row[k]), static_cast<double>(row[k])));
    *norm = square_root(sum);
  }
  synchronise_block();
  for (uint32_t k = thread(); k < dim; k += threads()) {
    row[k] = *norm > 0 ? static_cast<float>(divide(static_cast<double>(row[k]), *norm)) : 0.0f;
  }
  synchronise_block();
}

// As csrc/codec/rotation.cc. Signs are bits of SplitMix64, whose state counts: any of them is found at once.
TERCET_DEVICE void rotate(float* row, uint32_t dim, uint64_t seed) {
  uint32_t power = 1;
  while (power * 2 <= dim) power *= 2;
  const uint32_t rounds = power == dim ? 2 : 4;
  const float scale = divide(1.0f, square_root(as_float(static_cast<int32_t>(power))));
  for (uint32_t round = 0; round < rounds; ++round) {
    for (uint32_t k = thread(); k < dim; k += threads()) {
      const uint64_t i = uint64_t{round} * dim + k;
      uint64_t state = seed + i / 64 * kSplitMixStep;
      const bool negative = split_mix(state) >> i % 64 & 1;
      row[k] = multiply(row[k], negative ? -1.0f : 1.0f);
    }
    float* const v = round % 2 ? row + (dim - power) : row;
    for (uint32_t half = 1; half < power; half *= 2) {
      synchronise_block();
      for (uint32_t i = thread(); i < power / 2; i += threads()) {
        const uint32_t k = i / half * 2 * half + i % half;
        const float a = v[k], b = v[k + half];
        v[k] = add(a, b);
        v[k + half] = subtract(a, b);
      }
    }
    synchronise_block();
    for (uint32_t k = thread(); k < power; k += threads()) v[k] = multiply(v[k], scale);
    synchronise_block();
  }
}

// As csrc/codec/quantise.h, by a scale that is not 0. What is no number becomes one.
TERCET_DEVICE int32_t quantised(float x, float scale) {
  const float rounded = round_to_even(divide(x, scale));
  return static_cast<int32_t>(!(rounded > -127) ? -127.0f : rounded < 127 ? rounded : 127.0f);
}

// Round to nearest, ties to even, as csrc/core/bfloat16.h.
TERCET_DEVICE uint32_t rounded_to_bfloat16(float x) {
  const uint32_t bits = float_as_bits(x);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

template <Format kFormat>
TERCET_DEVICE void write_operands(const BindArguments& a, uint32_t panel, uint32_t r, const float* row,
                                  const int8_t* codes, bool used) {
  uint32_t* const words = a.words + uint64_t{panel} * panel_words<kFormat>(a.dim);
  if constexpr (kFormat == Format::float32) {
    for (uint32_t k = thread(); k < panel_words<kFormat>(a.dim) / kPanelRows; k += threads())
      words[k * kPanelRows + column(r)] = used && k < a.dim ? float_as_bits(row[k]) : 0;
  } else {
    for (uint32_t i = thread(); i < panel_words<kFormat>(a.dim) / kPanelRows; i += threads()) {
      const uint32_t step = i / 8, t = i / 2 % 4, h = i % 2;
      uint32_t word = 0;
      for (uint32_t e = 0; e < Layout<kFormat>::kWordElements; ++e) {
        const uint32_t k = Layout<kFormat>::dimension(a.dim, step, t, h, e);
        if (!used || k == kNoDimension) continue;
        if constexpr (kFormat == Format::bfloat16) {
          word |= rounded_to_bfloat16(row[k]) << 16 * e;
        } else {
          word |= uint32_t{static_cast<uint8_t>(codes[k])} << 8 * e;
        }
      }
      words[operand_word(step, r, t, h)] = word;
    }
  }
}

// What sums begin with: int8 is stored as value + 128, and a packed code c of n bits stands for 2 c - (2^n -
// 1). Where panels stay in registers, sums are floats around 1.5 * 2^23 as well (tile.cuh).
template <Format kFormat>
TERCET_DEVICE int32_t start_of(uint32_t dim, int32_t sum_of_codes) {
  if constexpr (!is_integer(kFormat)) return 0;
  constexpr int32_t kExcess = kFormat == Format::int8 ? 128 : (1 << code_bits(kFormat)) - 1;
  constexpr int32_t kShiftBits = 0x4b400000;
  return (dim <= Layout<kFormat>::kResidentDims ? kShiftBits : 0) - kExcess * sum_of_codes;
}

// Grid: the rows of all panels, padding included.
template <Format kFormat>
TERCET_KERNEL(kBindThreads, 4)
bind_kernel(BindArguments a) {
  uint8_t* const shared = shared_memory<uint8_t>();
  auto* const norm = reinterpret_cast<double*>(shared);
  auto* const largest = reinterpret_cast<uint32_t*>(shared + 8);
  auto* const sum = reinterpret_cast<uint32_t*>(shared + 12);  // of codes, modulo 2^32
  auto* const row = reinterpret_cast<float*>(shared + 64);
  auto* const codes = reinterpret_cast<int8_t*>(row + a.dim);

  const uint32_t panel = block_x(), r = block_y();
  const uint32_t query = panel / a.panels_each, token = panel % a.panels_each * kPanelRows + r;
  const uint32_t length = a.lengths && a.lengths[query] < a.tokens ? a.lengths[query] : a.tokens;
  const bool used = token < length;
  if (thread() == 0) *largest = 0, *sum = 0;
  if (used) {
    const uint64_t first = (uint64_t{query} * a.tokens + token) * a.dim;
    for (uint32_t k = thread(); k < a.dim; k += threads())
      row[k] = element_at(a.values, a.element, first + k);
    synchronise_block();
    if (a.normalised) normalise(row, a.dim, norm);
    if constexpr (is_packed(kFormat)) rotate(row, a.dim, a.seed);
  } else {
    synchronise_block();
  }

  float scale = used ? 1.0f : 0.0f;
  if constexpr (is_integer(kFormat)) {
    if (used) {
      // Without their signs floats are ordered as their bits are.
      uint32_t most = 0;
      for (uint32_t k = thread(); k < a.dim; k += threads()) {
        const uint32_t bits = float_as_bits(row[k]) & 0x7fffffff;
        most = bits > most ? bits : most;
      }
      atomic_max(largest, most);
      synchronise_block();
      scale = divide(bits_as_float(*largest), 127);
      int32_t own = 0;
      for (uint32_t k = thread(); k < a.dim; k += threads()) {
        codes[k] = static_cast<int8_t>(scale == 0 ? 0 : quantised(row[k], scale));
        own += codes[k];
      }
      atomic_add(sum, static_cast<uint32_t>(own));
    }
    synchronise_block();
  }
  write_operands<kFormat>(a, panel, r, row, codes, used);
  if (thread() == 0) {
    a.start[panel * kPanelRows + column(r)] = start_of<kFormat>(a.dim, static_cast<int32_t>(*sum));
    a.scales[panel * kPanelRows + column(r)] = scale;
  }
}

}  // namespace tercet::cuda
