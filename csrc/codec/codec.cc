#include "codec/codec.h"

#include "codec/codebook.h"
#include "core/error.h"

namespace tercet {

std::unique_ptr<Codec> make_codec(const std::string& name, uint32_t dim, uint64_t seed) {
  if (name == "float32") return make_float32_codec();
  if (name == "bfloat16") return make_bfloat16_codec();
  if (name == "int8") return make_int8_codec();
  if (name == "int4") return make_packed_codec(Format::int4, dim, seed);
  if (name == "int2") return make_packed_codec(Format::int2, dim, seed);
  if (name == "binary") return make_packed_codec(Format::int1, dim, seed);
  fail(ErrorKind::value,
       "codec: expected \"float32\", \"bfloat16\", \"int8\", \"int4\", \"int2\" or \"binary\", got \"", name,
       "\"");
}

std::unique_ptr<Codec> make_residual_codec(const std::string& name, uint32_t dim, uint64_t seed) {
  if (name == "residual2") return make_packed_codec(Format::int2, dim, seed);
  if (name == "residual1") return make_packed_codec(Format::int1, dim, seed);
  if (name == "pq16") return make_product_codec(dim, seed);
  return nullptr;
}

PackedQueries Codec::bind_residuals(const float* queries, size_t count, const Codebook& codebook) const {
  PackedQueries packed = bind(queries, count, codebook.dim());
  packed.score_centroids(codebook.bind(queries, count), codebook.rows());
  return packed;
}

void Codec::train(const float*, size_t, size_t) {}

void Codec::restore(const std::vector<float>& parameters) {
  require(parameters.empty(), "parameters of the codec: ", name(), " has none, got ", parameters.size());
}

}  // namespace tercet
