// float32: the vectors themselves. 4 bytes a dimension; the reference.
#include <algorithm>
#include <cstring>
#include <limits>

#include "codec/codec.h"

namespace tercet {
namespace {

class Float32Codec final : public Codec {
 public:
  const char* name() const override { return "float32"; }
  Format format() const override { return Format::float32; }
  float max_magnitude() const override { return std::numeric_limits<float>::max(); }

  void encode(const float* row, uint32_t dim, uint8_t* code, uint16_t*) const override {
    std::memcpy(code, row, dim * sizeof(float));
  }
  void decode(const uint8_t* code, uint16_t, uint32_t dim, float* row) const override {
    std::memcpy(row, code, dim * sizeof(float));
  }
  PackedQueries bind(const float* queries, size_t count, uint32_t dim, float* errors) const override {
    if (errors) std::fill(errors, errors + count, 0.0f);
    return PackedQueries(
        {reinterpret_cast<const uint8_t*>(queries), count, dim * sizeof(float), dim, format()});
  }
};

}  // namespace

std::unique_ptr<Codec> make_float32_codec() { return std::make_unique<Float32Codec>(); }

}  // namespace tercet
