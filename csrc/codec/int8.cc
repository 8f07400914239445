// int8: one byte a dimension and one scale a vector, value = scale * (byte - 128), byte - 128 in [-127, 127].
//
// The scale is the largest magnitude / 127, rounded up to bfloat16: rounding up keeps every code in range,
// bfloat16 has float32's range (a float16 scale would lose vectors of small norm), and its 8 bits cost
// nothing because codes are chosen for the scale as stored. The error of a dimension is at most scale / 2.
// Queries are quantised the same way with a float32 scale, so the score is scale_q * scale_d * (integer dot
// product).
#include <vector>

#include "codec/codec.h"
#include "codec/quantise.h"
#include "core/bfloat16.h"

namespace tercet {
namespace {

class Int8Codec final : public Codec {
 public:
  const char* name() const override { return "int8"; }
  Format format() const override { return Format::int8; }
  bool has_scales() const override { return true; }
  // Keeps scales below kMaxScale.
  float max_magnitude() const override { return 1e30f; }

  void encode(const float* row, uint32_t dim, uint8_t* code, uint16_t* scale) const override {
    *scale = float_to_bfloat16_up(largest_magnitude(row, dim) / 127);
    quantise(row, dim, bfloat16_to_float(*scale), 128, code);
  }
  void decode(const uint8_t* code, uint16_t scale, uint32_t dim, float* row) const override {
    const float step = bfloat16_to_float(scale);
    for (uint32_t k = 0; k < dim; ++k) row[k] = step * static_cast<float>(code[k] - 128);
  }
  PackedQueries bind(const float* queries, size_t count, uint32_t dim, float* errors) const override {
    std::vector<uint8_t> codes(count * dim);
    std::vector<float> scales(count);
    for (size_t i = 0; i < count; ++i) {
      scales[i] = largest_magnitude(queries + i * dim, dim) / 127;
      quantise(queries + i * dim, dim, scales[i], 0, codes.data() + i * dim);
      if (errors) errors[i] = quantisation_error(queries + i * dim, dim, scales[i], codes.data() + i * dim);
    }
    return PackedQueries({codes.data(), count, dim, dim, format()}, scales.data());
  }
};

}  // namespace

std::unique_ptr<Codec> make_int8_codec() { return std::make_unique<Int8Codec>(); }

}  // namespace tercet
