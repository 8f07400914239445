#include "index/originals.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/distance.h"
#include "core/error.h"

namespace tercet {

void Originals::reserve(size_t rows) {
  values_.reserve(rows * dim_);
  make_room(errors_, rows);
  make_room(lengths_, rows);
}

void Originals::resize(size_t rows) {
  reserve(rows);
  values_.resize(rows * dim_);
  errors_.resize(rows);
  lengths_.resize(rows);
}

void Originals::set(size_t row, const float* vector, const float* decoded) noexcept {
  std::memcpy(values_.mutable_data() + row * dim_, vector, dim_ * sizeof(float));
  errors_[row] = distance(vector, decoded, dim_);
  lengths_[row] = std::max(length(vector, dim_), length(decoded, dim_));
}

void Originals::move(size_t from, size_t to) noexcept {
  std::memcpy(values_.mutable_data() + to * dim_, values_.data() + from * dim_, dim_ * sizeof(float));
  errors_[to] = errors_[from];
  lengths_[to] = lengths_[from];
}

RowsView Originals::view(Format format) const {
  RowsView view;
  view.data = reinterpret_cast<const uint8_t*>(values_.data());
  view.rows = errors_.size();
  view.stride = dim_ * sizeof(float);
  view.dim = dim_;
  view.format = format;
  return view;
}

void Originals::save(Sections& out) const {
  out.view("original_errors", errors_);
  out.view("original_lengths", lengths_);
  out.view(kPayload, values_, dim_);
}

void Originals::restore(const Container& file, size_t rows) {
  errors_ = file.copy<float>("original_errors", rows);
  lengths_ = file.copy<float>("original_lengths", rows);
  for (const auto* const values : {&errors_, &lengths_}) {
    for (const float x : *values) require(x >= 0 && std::isfinite(x), "originals: ", x, " is no distance");
  }
  const auto values = file.view<float>(kPayload);
  Container::check_count(kPayload, values.size(), rows * dim_);
  values_.borrow(values, file.keeper());
}

// With x' and q' what codes and the packed query stand for:
//   |<q, x> - <q', x'>| <= |q| |x - x'| + |q - q'| |x'|            (Cauchy-Schwarz)
// and each of the two is computed with at most dim + 16 roundings, of sums no larger than |q| |x| and what
// the scales and the bias make of them: 2 (dim + 32) 2^-24 of the lengths' product covers both, and twice the
// last place of the bias its addition. A distance is computed from differences, whose squares sum up to at
// most 2 (|q|^2 + |x|^2). Subnormals that an instruction flushes are below 2^-120 in all.
// Where queries were brought to length 1, the scores of originals are those of the query as it was: its
// subnormals are that much larger.
void Originals::bounds(double query_length, double query_error, double scale, const float* bias, float* upper,
                       float* widths) const noexcept {
  const double rounding = 2 * (static_cast<double>(dim_) + 32) * 0x1p-24;
  const double tiny = static_cast<double>(dim_) * 0x1p-120 + subnormals(dim_) / scale;
  if (!bias) {  // the common case in float32, four times as fast: its three roundings are in the last factor
    const float a = rounded_up(query_length), c = rounded_up(tiny);
    const float b = rounded_up(query_error + rounding * (query_length + query_error));
    for (size_t i = 0; i < errors_.size(); ++i) {
      upper[i] = (a * errors_[i] + b * lengths_[i] + c) * (1 + 0x1p-20f);
      widths[i] = 2 * upper[i] * (1 + 0x1p-18f);
    }
    return;
  }
  for (size_t i = 0; i < errors_.size(); ++i) {
    const double shift = bias[i], half = query_length / 2, length = lengths_[i];
    const double bound = query_length * errors_[i] + query_error * lengths_[i] +
                         2 * rounding * (half * half + length * length) +
                         rounding * (query_length + query_error) * lengths_[i] + 0x1p-21 * std::abs(shift) +
                         tiny;
    upper[i] = static_cast<float>(shift + bound * (1 + 0x1p-20));
    widths[i] = static_cast<float>(2 * bound * (1 + 0x1p-18));
  }
}

}  // namespace tercet
