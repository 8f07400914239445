// A codec turns float32 vectors into stored rows and queries into panels that score those rows.
//
// The contract, one file per codec:
//   encode    float32 row -> code bytes, and a scale if the format has one; never fails on a row whose
//             magnitudes are at most max_magnitude()
//   decode    the float32 row that the code stands for: what scores are computed from, up to rounding
//   bind      float32 queries -> packed panels in the codec's arithmetic
//   train     what a codec has to learn before it encodes; most have nothing
// One virtual call per row or batch; scoring itself goes through the kernel table.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "codec/packed_queries.h"
#include "core/types.h"

namespace tercet {

class Codebook;

// Kernels multiply the scales of rows by 1.5 * 2^23, which must not overflow; no codec makes larger ones.
constexpr float kMaxScale = 0x1p104f;

class Codec {
 public:
  virtual ~Codec() = default;
  virtual const char* name() const = 0;
  virtual Format format() const = 0;
  virtual bool has_scales() const { return false; }
  virtual float max_magnitude() const = 0;

  virtual void encode(const float* row, uint32_t dim, uint8_t* code, uint16_t* scale) const = 0;
  virtual void decode(const uint8_t* code, uint16_t scale, uint32_t dim, float* row) const = 0;
  // `errors`, if not null, gets for each query the length of what its rounding cuts off, not below it.
  virtual PackedQueries bind(const float* queries, size_t count, uint32_t dim,
                             float* errors = nullptr) const = 0;
  // The same for rows that are residuals of the centroids of `codebook`, whose scores are added.
  virtual PackedQueries bind_residuals(const float* queries, size_t count, const Codebook& codebook) const;

  // On [count, dim] float32 rows like those to come, at least one. Not while others use the codec.
  virtual void train(const float* rows, size_t count, size_t threads);
  virtual bool is_trained_on_rows() const { return false; }
  // What training found, and back; throws Error for what it cannot have found.
  virtual std::vector<float> parameters() const { return {}; }
  virtual size_t parameter_bytes() const { return 0; }
  virtual void restore(const std::vector<float>& parameters);

  size_t row_bytes(uint32_t dim) const { return tercet::row_bytes(format(), dim); }
};

// "float32", "bfloat16", "int8", "int4", "int2" or "binary"; throws Error for any other name. `seed` is that
// of a random rotation.
std::unique_ptr<Codec> make_codec(const std::string& name, uint32_t dim, uint64_t seed);

// The codecs of residuals, by name: "residual2" (int2), "residual1" (binary) or "pq16"; null for another
// name.
std::unique_ptr<Codec> make_residual_codec(const std::string& name, uint32_t dim, uint64_t seed);

std::unique_ptr<Codec> make_float32_codec();
std::unique_ptr<Codec> make_bfloat16_codec();
std::unique_ptr<Codec> make_int8_codec();
std::unique_ptr<Codec> make_packed_codec(Format format, uint32_t dim, uint64_t seed);
std::unique_ptr<Codec> make_product_codec(uint32_t dim, uint64_t seed);

}  // namespace tercet
