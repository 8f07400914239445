// int4, int2 and binary: 4, 2 bits or 1 bit a dimension and one scale a vector. The vector is rotated at
// random, so that no dimension stands out and one grid fits all, and each dimension becomes a code c of b
// bits that stands for the odd number 2 c - (2^b - 1) times the scale.
//
// The codes are those of the grid, among kGridWidths of different widths, whose direction is closest to the
// vector's; the scale is |x|^2 / <x, codes>, which makes <codes * scale, x> = |x|^2: an unbiased estimator of
// <q, x> over the random rotation (Gao and Long, "RaBitQ", 2024; here with a coarser search for the width).
// The error of <q, x> is |q| times that of the stored vector at most, and about 1 / sqrt(d) of that. The
// scale that makes the stored vector closest, <x, codes> / |codes|^2, ranks worse: it shrinks every score,
// and most where codes fit badly. Queries are rotated alike and quantised to int8.
#include <algorithm>
#include <numeric>
#include <vector>

#include "codec/codec.h"
#include "codec/quantise.h"
#include "codec/rotation.h"
#include "core/bfloat16.h"
#include "kernels/kernels.h"

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
    constexpr uint32_t kBytes = kBlockDims * kBits / 8;
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
  static constexpr int kBits = code_bits(kFormat);
  static constexpr int kMost = (1 << kBits) - 1;  // the largest code

  // Fills `codes` and returns the scale of 2 c - kMost.
  static float choose(const float* x, uint32_t dim, uint8_t* codes) {
    const float largest = largest_magnitude(x, dim);
    if (largest == 0) {
      std::fill(codes, codes + dim, static_cast<uint8_t>(0));
      return 0;
    }
    thread_local std::vector<float> parts;  // of the largest magnitude, so that nothing overflows
    parts.assign((dim + kGridLanes - 1) / kGridLanes * kGridLanes, 0);
    for (uint32_t k = 0; k < dim; ++k) parts[k] = x[k] / largest;
    const GridFit fit = kernels().fit_grid(parts.data(), dim, kBits);
    for (uint32_t k = 0; k < dim; ++k) {
      codes[k] = static_cast<uint8_t>(grid_code(parts[k], fit.inverse_step, kBits));
    }
    // In lanes, since one sum is one chain of additions, and takes four times as long.
    float squares[kGridLanes] = {};
    for (size_t k = 0; k < parts.size(); k += kGridLanes) {
      for (size_t l = 0; l < kGridLanes; ++l) squares[l] += parts[k + l] * parts[k + l];
    }
    return largest * (std::accumulate(squares, squares + kGridLanes, 0.0f) / fit.product);
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
