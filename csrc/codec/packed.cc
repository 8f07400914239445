// int4, int2 and binary: 4, 2 bits or 1 bit a dimension and one scale a vector. The vector is rotated at
// random, so that no dimension stands out and one grid fits all, and each dimension becomes a code c of b
// bits that stands for the odd number 2 c - (2^b - 1) times the scale.
//
// The codes are those of the grid, among kSteps of different widths, whose direction is closest to the
// vector's; the scale is |x|^2 / <x, codes>, which makes <codes * scale, x> = |x|^2: an unbiased estimator of
// <q, x> over the random rotation (Gao and Long, "RaBitQ", 2024; here with a coarser search for the width).
// The error of <q, x> is |q| times that of the stored vector at most, and about 1 / sqrt(d) of that. The
// scale that makes the stored vector closest, <x, codes> / |codes|^2, ranks worse: it shrinks every score,
// and most where codes fit badly. Queries are rotated alike and quantised to int8.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "codec/codec.h"
#include "codec/quantise.h"
#include "codec/rotation.h"
#include "core/bfloat16.h"

namespace tercet {
namespace {

template <Format kFormat>
class PackedCodec final : public Codec {
 public:
  PackedCodec(uint32_t dim, uint64_t seed) : rotation_(dim, seed) {}

  const char* name() const override {
    return kFormat == Format::int4 ? "int4" : kFormat == Format::int2 ? "int2" : "binary";
  }
  Format format() const override { return kFormat; }
  bool has_scales() const override { return true; }
  // Keeps scales below kMaxScale, although rotating may add up all dimensions.
  float max_magnitude() const override { return 1e28f; }

  void encode(const float* row, uint32_t dim, uint8_t* code, uint16_t* scale) const override {
    thread_local std::vector<float> rotated;
    thread_local std::vector<uint8_t> codes;
    rotated.resize(dim);
    codes.resize(dim);
    rotation_.apply(row, rotated.data());
    *scale = float_to_bfloat16(choose(rotated.data(), dim, codes.data()));

    std::fill(code, code + row_bytes(dim), static_cast<uint8_t>(0));
    constexpr uint32_t kBits = code_bits(kFormat), kBytes = kBlockDims * kBits / 8;
    const uint32_t whole = dim / kBlockDims * kBlockDims;
    for (uint32_t first = 0; first < whole;
         first += kBlockDims) {  // as code_position() says, a plane at once
      for (uint32_t plane = 0; plane < 8 / kBits; ++plane) {
        for (uint32_t i = 0; i < kBytes; ++i) {
          uint8_t& byte = code[first * kBits / 8 + i];
          byte = static_cast<uint8_t>(byte | codes[first + plane * kBytes + i] << plane * kBits);
        }
      }
    }
    for (uint32_t k = whole; k < dim; ++k) {
      const CodePosition at = code_position(kFormat, dim, k);
      code[at.byte] = static_cast<uint8_t>(code[at.byte] | codes[k] << at.shift);
    }
  }

  void decode(const uint8_t* code, uint16_t scale, uint32_t dim, float* row) const override {
    thread_local std::vector<float> rotated;
    rotated.resize(dim);
    const float step = bfloat16_to_float(scale);
    for (uint32_t k = 0; k < dim; ++k) {
      const CodePosition at = code_position(kFormat, dim, k);
      rotated[k] = step * static_cast<float>(2 * (code[at.byte] >> at.shift & kMost) - kMost);
    }
    rotation_.invert(rotated.data(), row);
  }

  PackedQueries bind(const float* queries, size_t count, uint32_t dim, float* errors) const override {
    std::vector<float> rotated(dim), scales(count);
    std::vector<uint8_t> codes(count * dim);
    for (size_t i = 0; i < count; ++i) {
      rotation_.apply(queries + i * dim, rotated.data());
      scales[i] = largest_magnitude(rotated.data(), dim) / 127;
      quantise(rotated.data(), dim, scales[i], 0, codes.data() + i * dim);
      if (errors) errors[i] = quantisation_error(rotated.data(), dim, scales[i], codes.data() + i * dim);
    }
    return PackedQueries({codes.data(), count, dim, dim, format()}, scales.data());
  }

 private:
  static constexpr int kMost = (1 << code_bits(kFormat)) - 1;  // the largest code
  static constexpr int kHalf = (kMost + 1) / 2;
  static constexpr int kSteps = kMost > 1 ? 16 : 1;
  static constexpr size_t kLanes = 16;

  static uint8_t code_of(float x, float inverse_step) {
    // truncation is floor, since the sum is not negative where it is not clamped
    return static_cast<uint8_t>(std::clamp(static_cast<int>(x * inverse_step + kHalf), 0, kMost));
  }

  // Fills `codes` and returns the scale of 2 c - kMost.
  static float choose(const float* x, uint32_t dim, uint8_t* codes) {
    const float largest = largest_magnitude(x, dim);
    if (largest == 0) {
      std::fill(codes, codes + dim, static_cast<uint8_t>(0));
      return 0;
    }
    // In units of the largest magnitude, so that nothing overflows. A step s maps [c - kHalf, c - kHalf + 1)
    // s to c; the widest grid ends at the largest magnitude, the narrowest at 0.4 of it.
    thread_local std::vector<float> parts;
    parts.assign((dim + kLanes - 1) / kLanes * kLanes, 0);
    for (uint32_t k = 0; k < dim; ++k) parts[k] = x[k] / largest;
    float best = -1, best_inverse = 0;
    for (int i = 0; i < kSteps; ++i) {
      const float inverse = kHalf / (1.0f - 0.04f * static_cast<float>(i));
      // Exact enough: the choice, not the result, depends on them. In lanes, since one sum is one chain of
      // additions, and takes four times as long.
      float products[kLanes] = {}, squares[kLanes] = {};
      for (size_t k = 0; k < parts.size(); k += kLanes) {
        for (size_t l = 0; l < kLanes; ++l) {
          const float y = parts[k + l];
          const auto value = static_cast<float>(2 * code_of(y, inverse) - kMost);
          products[l] += y * value;
          squares[l] += value * value;
        }
      }
      const float product = std::accumulate(products, products + kLanes, 0.0f);
      const float padding = static_cast<float>(parts.size() - dim);  // whose values are 1
      const float square = std::accumulate(squares, squares + kLanes, -padding);
      if (product > 0 && product * product > best * square) {
        best = product * product / square;
        best_inverse = inverse;
      }
    }
    double product = 0, square = 0;
    for (uint32_t k = 0; k < dim; ++k) {
      const float y = x[k] / largest;
      codes[k] = code_of(y, best_inverse);
      product += static_cast<double>(y) * (2 * codes[k] - kMost);
      square += static_cast<double>(y) * y;
    }
    return static_cast<float>(largest * (square / product));
  }

  Rotation rotation_;
};

}  // namespace

std::unique_ptr<Codec> make_packed_codec(Format format, uint32_t dim, uint64_t seed) {
  if (format == Format::int4) return std::make_unique<PackedCodec<Format::int4>>(dim, seed);
  if (format == Format::int2) return std::make_unique<PackedCodec<Format::int2>>(dim, seed);
  return std::make_unique<PackedCodec<Format::int1>>(dim, seed);
}

}  // namespace tercet
