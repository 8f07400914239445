// bfloat16: 2 bytes a dimension, 8 bits of precision. Queries are rounded too, since the bfloat16 instruction
// takes both sides so and all levels should score alike; products are exact, sums are float32.
#include "core/bfloat16.h"

#include <cstring>
#include <vector>

#include "codec/codec.h"
#include "codec/distance.h"

namespace tercet {
namespace {

class Bfloat16Codec final : public Codec {
 public:
  const char* name() const override { return "bfloat16"; }
  Format format() const override { return Format::bfloat16; }
  float max_magnitude() const override { return bfloat16_to_float(0x7f7f); }

  void encode(const float* row, uint32_t dim, uint8_t* code, uint16_t*) const override {
    for (uint32_t k = 0; k < dim; ++k) {
      const uint16_t bits = float_to_bfloat16(row[k]);
      std::memcpy(code + 2 * k, &bits, 2);
    }
  }
  void decode(const uint8_t* code, uint16_t, uint32_t dim, float* row) const override {
    for (uint32_t k = 0; k < dim; ++k) {
      uint16_t bits;
      std::memcpy(&bits, code + 2 * k, 2);
      row[k] = bfloat16_to_float(bits);
    }
  }
  PackedQueries bind(const float* queries, size_t count, uint32_t dim, float* errors) const override {
    std::vector<uint8_t> rounded(count * row_bytes(dim));
    encode(queries, static_cast<uint32_t>(count * dim), rounded.data(), nullptr);
    std::vector<float> decoded(errors ? dim : 0);
    for (size_t i = 0; errors && i < count; ++i) {
      decode(rounded.data() + i * row_bytes(dim), 0, dim, decoded.data());
      errors[i] = distance(queries + i * dim, decoded.data(), dim);
    }
    return PackedQueries({rounded.data(), count, row_bytes(dim), dim, format()});
  }
};

}  // namespace

std::unique_ptr<Codec> make_bfloat16_codec() { return std::make_unique<Bfloat16Codec>(); }

}  // namespace tercet
