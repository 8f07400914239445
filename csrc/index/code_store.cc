#include "index/code_store.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/bfloat16.h"
#include "core/error.h"

namespace tercet {

namespace {

// How far apart rows to train on are: more of them make neither codebook nor codec better. Spread over all:
// texts come in any order, also by topic.
size_t rows_to_skip(size_t count, size_t centroids) {
  constexpr size_t kRowsPerCentroid = 64;
  return std::max<size_t>(1, count / (centroids * kRowsPerCentroid));
}

double squared_distance(const float* a, const float* b, uint32_t dim) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) {
    const double difference = double{a[k]} - b[k];
    sum += difference * difference;
  }
  return sum;
}

}  // namespace

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
  size_t step = rows_to_skip(count, options.centroids);
  auto codebook = std::make_unique<Codebook>(
      train_codebook(rows, (count + step - 1) / step, stride * step, dim_, options));
  if (codec_->is_trained_on_rows()) {
    step = rows_to_skip(count, kProductEntries);
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

// Whether rows of the other mean the same here.
bool CodeStore::knows_training_of(const CodeStore& other) const {
  if (codebook_ == other.codebook_) return true;
  if (!codebook_ || !other.codebook_) return false;
  return other.codebook_->begins(*codebook_) && codec_->parameters() == other.codec_->parameters();
}

bool CodeStore::is_like(const CodeStore& other) const {
  return has_layout_of(other) && (knows_training_of(other) || other.rows_ == 0);
}

void CodeStore::grow(const float* rows, size_t count, size_t stride, const KMeans& options) {
  require(codebook_ != nullptr, "codebook: the index is not trained");
  const size_t room = Codebook::kMost - codebook_->size();
  require(options.centroids <= room, "centroids: expected at most ", room, " more than the ",
          codebook_->size(), " there are, got ", options.centroids);
  const size_t step = rows_to_skip(count, 2 * options.centroids), sample = (count + step - 1) / step;
  std::vector<uint16_t> nearest(sample);
  codebook_->assign(rows, sample, stride * step, nearest.data(), options.threads);
  std::vector<float> centroid(dim_);
  std::vector<double> squares(sample);
  for (size_t i = 0; i < sample; ++i) {
    codebook_->centroid(nearest[i], centroid.data());
    squares[i] = squared_distance(rows + i * step * stride, centroid.data(), dim_);
  }
  std::vector<uint32_t> farthest(sample);
  std::iota(farthest.begin(), farthest.end(), 0u);
  const size_t half = (sample + 1) / 2;
  std::nth_element(
      farthest.begin(), farthest.begin() + static_cast<long>(half - 1), farthest.end(),
      [&](uint32_t a, uint32_t b) { return squares[a] != squares[b] ? squares[a] > squares[b] : a < b; });
  farthest.resize(half);
  std::sort(farthest.begin(), farthest.end());  // nth_element may leave them in any order
  std::vector<float> far(half * dim_);
  for (size_t i = 0; i < half; ++i) {
    std::copy_n(rows + size_t{farthest[i]} * step * stride, dim_, far.data() + i * dim_);
  }
  codebook_ =
      std::make_unique<Codebook>(codebook_->with(train_codebook(far.data(), half, dim_, dim_, options)));
}

double CodeStore::mean_residual() const {
  constexpr size_t kRows = 4096;
  const size_t step = std::max<size_t>(1, rows_ / kRows);
  std::vector<float> vector(dim_), centroid(dim_);
  const std::vector<float> origin(dim_);
  double sum = 0;
  size_t count = 0;
  for (size_t row = 0; row < rows_ && codebook_; row += step) {
    decode(row, vector.data());
    codebook_->centroid(centroids_.data()[row], centroid.data());
    const double whole = squared_distance(vector.data(), origin.data(), dim_);
    sum += whole > 0 ? std::sqrt(squared_distance(vector.data(), centroid.data(), dim_) / whole) : 0;
    ++count;
  }
  return count ? sum / static_cast<double>(count) : 0;
}

void CodeStore::share_training(const CodeStore& other) {
  require(has_layout_of(other), "codebook: it is of an index with other settings");
  require(other.codebook_ != nullptr, "codebook: the index is not trained");
  require(!codebook_ || other.knows_training_of(*this),
          "codebook: it is another one, and scores do not compare");
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
