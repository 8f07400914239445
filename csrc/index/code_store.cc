#include "index/code_store.h"

#include <cstring>

#include "core/error.h"

namespace tercet {

RowsView CodeStore::view() const {
  RowsView view;
  view.data = codes_.data();
  view.rows = rows_;
  view.stride = codec_->row_bytes(dim_);
  view.dim = dim_;
  view.format = codec_->format();
  view.scales = codec_->has_scales() ? scales_.data() : nullptr;
  return view;
}

void CodeStore::reserve(size_t rows) {
  make_room(codes_, rows * codec_->row_bytes(dim_));
  if (codec_->has_scales()) make_room(scales_, rows);
}

void CodeStore::resize(size_t rows) {
  reserve(rows);
  codes_.resize(rows * codec_->row_bytes(dim_));
  if (codec_->has_scales()) scales_.resize(rows);
  rows_ = rows;
}

void CodeStore::encode(size_t row, const float* vector) noexcept {
  codec_->encode(vector, dim_, codes_.data() + row * codec_->row_bytes(dim_),
                 codec_->has_scales() ? &scales_[row] : nullptr);
}

void CodeStore::decode(size_t row, float* vector) const {
  codec_->decode(codes_.data() + row * codec_->row_bytes(dim_), codec_->has_scales() ? scales_[row] : 0, dim_,
                 vector);
}

void CodeStore::move(size_t from, size_t to, size_t count) {
  const size_t stride = codec_->row_bytes(dim_);
  std::memmove(codes_.data() + to * stride, codes_.data() + from * stride, count * stride);
  if (codec_->has_scales()) {
    std::memmove(scales_.data() + to, scales_.data() + from, count * sizeof(uint16_t));
  }
}

void CodeStore::restore(const uint8_t* codes, size_t code_bytes, const uint16_t* scales, size_t num_scales,
                        size_t rows) {
  require(code_bytes == rows * codec_->row_bytes(dim_), "codes: expected ", rows * codec_->row_bytes(dim_),
          " bytes for ", rows, " rows, got ", code_bytes);
  const size_t expected_scales = codec_->has_scales() ? rows : 0;
  require(num_scales == expected_scales, "scales: expected ", expected_scales, ", got ", num_scales);
  codes_.assign(codes, codes + code_bytes);
  scales_.assign(scales, scales + num_scales);
  rows_ = rows;
}

}  // namespace tercet
