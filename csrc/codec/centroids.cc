#include "codec/centroids.h"

#include <cstring>
#include <utility>

#include "codec/codec.h"
#include "codec/int8_vectors.h"
#include "core/bfloat16.h"
#include "core/error.h"

namespace tercet {
namespace {

const Codec& int8_codec() {
  static const auto codec = make_int8_codec();
  return *codec;
}

}  // namespace

Centroids::Centroids(uint32_t dim, size_t count)
    : dim_(dim), codes_(count * dim), scales_(count), bias_(count) {}

Centroids::Centroids(uint32_t dim, AlignedVector<uint8_t> codes, std::vector<uint16_t> scales)
    : dim_(dim), codes_(std::move(codes)), scales_(std::move(scales)), bias_(scales_.size()) {
  require(codes_.size() == scales_.size() * dim_, "centroids: expected ", scales_.size(), " rows of ", dim_,
          " codes, got ", codes_.size(), " codes");
  for (size_t i = 0; i < size(); ++i) {
    const float scale = bfloat16_to_float(scales_[i]);
    require(scale >= 0 && scale <= kMaxClusterMagnitude, "centroids: row ", i, " has the scale ", scale);
    update_bias(i);
  }
}

void Centroids::set(size_t i, const float* row) {
  int8_codec().encode(row, dim_, codes_.data() + i * dim_, &scales_[i]);
  update_bias(i);
}

void Centroids::get(size_t i, float* row) const {
  int8_codec().decode(codes_.data() + i * dim_, scales_[i], dim_, row);
}

void Centroids::copy(size_t i, const Centroids& from, size_t j) {
  std::memcpy(codes_.data() + i * dim_, from.codes_.data() + j * dim_, dim_);
  scales_[i] = from.scales_[j];
  bias_[i] = from.bias_[j];
}

RowsView Centroids::view() const {
  return {codes_.data(), size(), dim_, dim_, Format::int8, scales_.data(), bias_.data()};
}

void Centroids::update_bias(size_t i) {
  const uint8_t* const code = codes_.data() + i * dim_;
  int32_t square = 0;  // at most 2^14 * 65535
  for (uint32_t k = 0; k < dim_; ++k) {
    const int32_t value = code[k] - 128;
    square += value * value;
  }
  const double scale = bfloat16_to_float(scales_[i]);
  bias_[i] = static_cast<float>(-0.5 * scale * scale * square);
}

}  // namespace tercet
