#include "index/code_store.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/bfloat16.h"
#include "core/error.h"

namespace tercet {

size_t CodeStore::stride_of(size_t row_bytes, RowLayout layout) {
  if (layout == RowLayout::packed) return row_bytes;
  if (row_bytes <= kCacheLine) return std::bit_ceil(row_bytes);
  return (row_bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

size_t CodeStore::bytes() const {
  const size_t learned = codebook_ ? codebook_->bytes() + codec_->parameter_bytes() : 0;
  return codes_.size() + (scales_.size() + centroids_.size()) * sizeof(uint16_t) + learned;
}

RowsView CodeStore::view() const {
  RowsView view;
  view.data = codes_.data();
  view.rows = rows_;
  view.stride = stride_;
  view.dim = dim_;
  view.format = codec_->format();
  view.scales = codec_->has_scales() ? scales_.data() : nullptr;
  view.centroids = codebook_ ? centroids_.data() : nullptr;
  return view;
}

void CodeStore::train(const float* rows, size_t count, size_t stride, const KMeans& options) {
  // More of them do not make codebook or codec better. Spread over all: texts come in any order, also by
  // topic.
  constexpr size_t kRowsPerCentroid = 64;
  const auto spread = [&](size_t centroids) {
    return std::max<size_t>(1, count / (centroids * kRowsPerCentroid));
  };
  size_t step = spread(options.centroids);
  auto codebook = std::make_unique<Codebook>(
      train_codebook(rows, (count + step - 1) / step, stride * step, dim_, options));
  if (codec_->is_trained_on_rows()) {
    step = spread(kProductEntries);
    const size_t sample = (count + step - 1) / step;
    std::vector<uint16_t> nearest(sample);
    codebook->assign(rows, sample, stride * step, nearest.data(), options.threads);
    std::vector<float> residuals(sample * dim_);
    for (size_t i = 0; i < sample; ++i) {
      float* const residual = residuals.data() + i * dim_;
      codebook->centroid(nearest[i], residual);
      for (uint32_t k = 0; k < dim_; ++k) residual[k] = rows[i * step * stride + k] - residual[k];
    }
    codec_->train(residuals.data(), sample, options.threads);
  }
  codebook_ = std::move(codebook);
}

bool CodeStore::has_layout_of(const CodeStore& other) const {
  return dim_ == other.dim_ && stride_ == other.stride_ && codec_->format() == other.codec_->format();
}

bool CodeStore::has_training_of(const CodeStore& other) const {
  if (codebook_ == other.codebook_) return true;
  if (!codebook_ || !other.codebook_) return false;
  const Centroids &own = codebook_->centroids(), &theirs = other.codebook_->centroids();
  return own.codes() == theirs.codes() && own.scales() == theirs.scales() &&
         codebook_->offsets() == other.codebook_->offsets() &&
         codec_->parameters() == other.codec_->parameters();
}

bool CodeStore::is_like(const CodeStore& other) const {
  return has_layout_of(other) && (has_training_of(other) || other.rows_ == 0);
}

void CodeStore::share_training(const CodeStore& other) {
  require(has_layout_of(other), "codebook: it is of an index with other settings");
  require(other.codebook_ != nullptr, "codebook: the index is not trained");
  require(!codebook_ || has_training_of(other), "codebook: it is another one, and scores do not compare");
  if (!codebook_) codec_->restore(other.codec_->parameters());
  codebook_ = other.codebook_;
}

void CodeStore::reserve(size_t rows) {
  codes_.reserve(rows * stride_);
  if (codec_->has_scales()) scales_.reserve(rows);
  if (codebook_) centroids_.reserve(rows);
}

void CodeStore::resize(size_t rows) {
  reserve(rows);
  codes_.resize(rows * stride_);
  if (codec_->has_scales()) scales_.resize(rows);
  if (codebook_) centroids_.resize(rows);
  rows_ = rows;
}

void CodeStore::encode(size_t row, const float* vector, uint16_t centroid) noexcept {
  thread_local std::vector<float> residual;
  if (codebook_) {
    residual.resize(dim_);
    codebook_->centroid(centroid, residual.data());
    for (uint32_t k = 0; k < dim_; ++k) residual[k] = vector[k] - residual[k];
    vector = residual.data();
    centroids_.mutable_data()[row] = centroid;
  }
  uint8_t* const code = codes_.mutable_data() + row * stride_;
  codec_->encode(vector, dim_, code, codec_->has_scales() ? scales_.mutable_data() + row : nullptr);
  std::fill(code + codec_->row_bytes(dim_), code + stride_, uint8_t{0});
}

void CodeStore::decode(size_t row, float* vector) const {
  codec_->decode(codes_.data() + row * stride_, codec_->has_scales() ? scales_.data()[row] : 0, dim_, vector);
  if (!codebook_) return;
  thread_local std::vector<float> centroid;
  centroid.resize(dim_);
  codebook_->centroid(centroids_.data()[row], centroid.data());
  for (uint32_t k = 0; k < dim_; ++k) vector[k] += centroid[k];
}

void CodeStore::move(size_t from, size_t to, size_t count) {
  std::memmove(codes_.mutable_data() + to * stride_, codes_.data() + from * stride_, count * stride_);
  const auto move_words = [&](Buffer<uint16_t>& words) {
    std::memmove(words.mutable_data() + to, words.data() + from, count * sizeof(uint16_t));
  };
  if (codec_->has_scales()) move_words(scales_);
  if (codebook_) move_words(centroids_);
}

void CodeStore::copy(const CodeStore& other, size_t from, size_t to, size_t count) noexcept {
  std::copy_n(other.codes_.data() + from * stride_, count * stride_, codes_.mutable_data() + to * stride_);
  if (codec_->has_scales()) std::copy_n(other.scales_.data() + from, count, scales_.mutable_data() + to);
  if (codebook_) std::copy_n(other.centroids_.data() + from, count, centroids_.mutable_data() + to);
}

PackedQueries CodeStore::bind(const float* queries, size_t count) const {
  return codebook_ ? codec_->bind_residuals(queries, count, *codebook_) : codec_->bind(queries, count, dim_);
}

void CodeStore::save(Sections& out, const std::vector<TokenSpan>& rows) const {
  if (codebook_) {
    const Centroids& centroids = codebook_->centroids();
    out.view("codebook_codes", centroids.codes(), dim_);
    out.view("codebook_scales", centroids.scales());
    out.view("codebook_offsets", codebook_->offsets());
    out.own("codec_parameters", codec_->parameters());
    out.gather("centroids", centroids_.data(), rows);
  }
  if (codec_->has_scales()) out.gather("scales", scales_.data(), rows);
  out.gather("codes", codes_.data(), rows, stride_);
}

void CodeStore::restore_training(const Container& file) {
  const auto offsets = file.read<uint32_t>("codebook_offsets");
  const auto scales = file.read<uint16_t>("codebook_scales");
  const auto codes = file.read<uint8_t>("codebook_codes");
  const auto parameters = file.read<float>("codec_parameters");
  codec_->restore({parameters.begin(), parameters.end()});
  codebook_ = std::make_unique<Codebook>(
      Centroids(dim_, {codes.begin(), codes.end()}, {scales.begin(), scales.end()}),
      std::vector<uint32_t>(offsets.begin(), offsets.end()));
}

void CodeStore::restore(const Container& file, size_t rows) {
  if (!file.view<uint32_t>("codebook_offsets").empty()) restore_training(file);
  const auto borrow_words = [&](Buffer<uint16_t>& words, const char* section, bool expected) {
    const auto values = file.view<uint16_t>(section);
    Container::check_count(section, values.size(), expected ? rows : 0);
    words.borrow(values, file.keeper());
  };
  borrow_words(scales_, "scales", codec_->has_scales());
  borrow_words(centroids_, "centroids", codebook_ != nullptr);
  const auto codes = file.view<uint8_t>("codes");
  require(rows <= codes.size() / stride_ && rows * stride_ == codes.size(), "bytes of codes: expected ", rows,
          " rows of ", stride_, ", got ", codes.size());  // the product of any number of rows may overflow
  codes_.borrow(codes, file.keeper());
  rows_ = rows;
}

void CodeStore::check_codes() const {
  // What no codec makes, searches need not expect.
  for (size_t i = 0; i < scales_.size(); ++i) {
    const float scale = bfloat16_to_float(scales_.data()[i]);
    require(scale >= 0 && scale <= kMaxScale, "scales: row ", i, " has the scale ", scale);
  }
  for (size_t i = 0; i < centroids_.size(); ++i) {
    const uint16_t c = centroids_.data()[i];
    require(c < codebook_->size(), "centroids of rows: ", c, " is none of ", codebook_->size());
  }
  if (is_integer(codec_->format())) return;
  for (size_t row = 0; row < rows_; ++row) {
    require(kernels().all_finite(codec_->format(), codes_.data() + row * stride_, dim_), "codes: row ", row,
            " has a value that is not finite");
  }
}

}  // namespace tercet
