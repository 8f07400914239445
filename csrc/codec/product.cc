// pq16: 16 bytes a vector, whatever its dimensions. The vector is rotated at random, so that no part of it
// weighs more than another, and cut into 16 parts; each becomes the number of the nearest of 256 entries that
// k-means found for this part (Jegou, Douze and Schmid, "Product quantization", 2011). Made for residuals:
// the centroid, whose number takes 2 bytes more, has most of the vector.
//
// A query is bound as a table, [part][entry][32 query rows] and the scores of the centroids, in int16: one
// factor per query row makes the largest sum that can occur fill 15 bits, so that the scores are the same on
// every level of instructions, and half as many bytes are read as in float32.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "codec/codebook.h"
#include "codec/codec.h"
#include "codec/kmeans.h"
#include "codec/rotation.h"
#include "core/error.h"

namespace tercet {
namespace {

class ProductCodec final : public Codec {
 public:
  ProductCodec(uint32_t dim, uint64_t seed)
      : dim_(dim), seed_(seed), rotation_(dim, seed), entries_(size_t{kProductEntries} * dim) {
    derive();
  }

  const char* name() const override { return "pq16"; }
  Format format() const override { return Format::product; }
  // Keeps rotated residuals below kMaxClusterMagnitude.
  float max_magnitude() const override { return 1e12f; }

  bool is_trained_on_rows() const override { return true; }
  void train(const float* rows, size_t count, size_t threads) override {
    std::vector<float> rotated(count * dim_);
    for (size_t i = 0; i < count; ++i) rotation_.apply(rows + i * dim_, rotated.data() + i * dim_);
    std::vector<float> entry;
    for (uint32_t m = 0; m < kProductParts; ++m) {
      const uint32_t part = first(m + 1) - first(m);
      if (part == 0) continue;  // of fewer dimensions than parts
      const Codebook book = train_codebook(rotated.data() + first(m), count, dim_, part,
                                           {kProductEntries, 8, seed_ + m, threads});
      entry.resize(part);
      for (size_t j = 0; j < kProductEntries; ++j) {  // of few rows there are fewer: the last one again
        book.centroid(std::min(j, book.size() - 1), entry.data());
        std::copy(entry.begin(), entry.end(), entries_.begin() + static_cast<long>(j * dim_ + first(m)));
      }
    }
    derive();
  }

  std::vector<float> parameters() const override { return entries_; }
  size_t parameter_bytes() const override {
    return (entries_.size() + columns_.size() + half_squares_.size()) * sizeof(float);
  }

  void restore(const std::vector<float>& parameters) override {
    require(parameters.size() == entries_.size(), "parameters of the codec: expected ", entries_.size(),
            ", got ", parameters.size());
    for (const float x : parameters) {
      require(std::abs(x) <= kMaxClusterMagnitude, "parameters of the codec: ", x, " is out of range");
    }
    entries_ = parameters;
    derive();
  }

  void encode(const float* row, uint32_t, uint8_t* code, uint16_t*) const override {
    thread_local std::vector<float> rotated;
    rotated.resize(dim_);
    rotation_.apply(row, rotated.data());
    // The nearest entry e has the largest <x, e> - |e|^2 / 2.
    float scores[kProductEntries];
    for (uint32_t m = 0; m < kProductParts; ++m) {
      for (uint32_t j = 0; j < kProductEntries; ++j) scores[j] = -half_squares_[m * kProductEntries + j];
      for (uint32_t k = first(m); k < first(m + 1); ++k) {
        const float* const column = columns_.data() + size_t{k} * kProductEntries;
        for (uint32_t j = 0; j < kProductEntries; ++j) scores[j] += rotated[k] * column[j];
      }
      code[m] = static_cast<uint8_t>(std::max_element(scores, scores + kProductEntries) - scores);
    }
  }

  void decode(const uint8_t* code, uint16_t, uint32_t, float* row) const override {
    thread_local std::vector<float> rotated;
    rotated.resize(dim_);
    for (uint32_t m = 0; m < kProductParts; ++m) {
      const auto entry = entries_.begin() + static_cast<long>(size_t{code[m]} * dim_);
      std::copy(entry + first(m), entry + first(m + 1), rotated.begin() + first(m));
    }
    rotation_.invert(rotated.data(), row);
  }

  PackedQueries bind(const float* queries, size_t count, uint32_t, float*) const override {
    return bind_with(queries, count, nullptr);
  }
  PackedQueries bind_residuals(const float* queries, size_t count, const Codebook& codebook) const override {
    return bind_with(queries, count, &codebook);
  }

 private:
  PackedQueries bind_with(const float* queries, size_t count, const Codebook* codebook) const {
    std::vector<float> rotated(count * dim_);
    for (size_t i = 0; i < count; ++i) rotation_.apply(queries + i * dim_, rotated.data() + i * dim_);
    RowsView rows{reinterpret_cast<const uint8_t*>(rotated.data()), count, dim_ * sizeof(float), dim_};
    RowsView entries{reinterpret_cast<const uint8_t*>(entries_.data()), kProductEntries, dim_ * sizeof(float),
                     dim_};
    const RowsView centroids = codebook ? codebook->rows() : RowsView();
    const size_t table = (size_t{kProductParts} * kProductEntries + centroids.rows) * kPanelRows;
    const size_t panels = (count + kPanelRows - 1) / kPanelRows;
    AlignedVector<float> scores(panels * table);
    std::fill(scores.begin(), scores.end(), 0.0f);
    for (uint32_t m = 0; m < kProductParts; ++m) {
      if (first(m + 1) == first(m)) continue;
      rows.data = reinterpret_cast<const uint8_t*>(rotated.data() + first(m));
      entries.data = reinterpret_cast<const uint8_t*>(entries_.data() + first(m));
      rows.dim = entries.dim = first(m + 1) - first(m);
      const PackedQueries part(rows);
      for (size_t p = 0; p < panels; ++p) {
        kernels()
            .panel(Format::float32)
            .dot(part.panel(p), entries, 0, kProductEntries,
                 scores.data() + p * table + size_t{m} * kProductEntries * kPanelRows);
      }
    }
    AlignedVector<uint8_t> values(panels * table * sizeof(int16_t));
    std::vector<float> scales(panels * kPanelRows);
    if (codebook) {
      const PackedQueries own = codebook->bind(queries, count);
      for (size_t p = 0; p < panels; ++p) {
        float* const to = scores.data() + p * table + size_t{kProductParts} * kProductEntries * kPanelRows;
        kernels().panel(Format::int8).dot(own.panel(p), centroids, 0, centroids.rows, to);
      }
    }
    for (size_t p = 0; p < panels; ++p) {
      const float* const own = scores.data() + p * table;
      to_int16(own, centroids.rows, reinterpret_cast<int16_t*>(values.data()) + p * table,
               scales.data() + p * kPanelRows);
    }
    return PackedQueries(count, dim_, Format::product, std::move(values), scales.data());
  }

  uint32_t first(uint32_t part) const { return part * dim_ / kProductParts; }

  // What is derived from the entries.
  void derive() {
    columns_.resize(entries_.size());
    half_squares_.assign(size_t{kProductParts} * kProductEntries, 0.0f);
    for (uint32_t m = 0; m < kProductParts; ++m) {
      for (uint32_t j = 0; j < kProductEntries; ++j) {
        for (uint32_t k = first(m); k < first(m + 1); ++k) {
          const float x = entries_[size_t{j} * dim_ + k];
          columns_[size_t{k} * kProductEntries + j] = x;
          half_squares_[m * kProductEntries + j] += 0.5f * x * x;
        }
      }
    }
  }

  // A panel's table of scores, [parts * entries + centroids][32], to integers and what these are multiplied
  // with. Loops over lanes are left to the vectoriser.
  static void to_int16(const float* scores, size_t centroids, int16_t* out, float* scales) {
    float sum[kPanelRows] = {}, factors[kPanelRows];
    const auto add_largest = [&](size_t begin, size_t count) {
      float largest[kPanelRows] = {};
      for (size_t i = begin; i < begin + count; ++i) {
        for (int r = 0; r < kPanelRows; ++r) {
          const float x = std::abs(scores[i * kPanelRows + r]);
          largest[r] = x > largest[r] ? x : largest[r];
        }
      }
      for (int r = 0; r < kPanelRows; ++r) sum[r] += largest[r];
    };
    for (size_t m = 0; m < kProductParts; ++m) add_largest(m * kProductEntries, kProductEntries);
    add_largest(size_t{kProductParts} * kProductEntries, centroids);
    // 16 bits, less a half that each of the 17 numbers may be rounded up, and what float rounds
    constexpr float kMost = 32750;
    for (int r = 0; r < kPanelRows; ++r) {
      scales[r] = sum[r] / kMost;
      factors[r] = sum[r] > 0x1p-100f ? kMost / sum[r] : 0;  // smaller ones have no inverse, and rank as 0
    }
    const size_t rows = size_t{kProductParts} * kProductEntries + centroids;
    for (size_t i = 0; i < rows; ++i) {
      for (int r = 0; r < kPanelRows; ++r) {
        const float x = scores[i * kPanelRows + r] * factors[r];
        out[i * kPanelRows + r] = static_cast<int16_t>(x + std::copysign(0.5f, x));
      }
    }
  }

  uint32_t dim_;
  uint64_t seed_;
  Rotation rotation_;
  std::vector<float> entries_;       // [entry][dim]: entry j of part m is the dimensions of the part in row j
  std::vector<float> columns_;       // [dim][entry]
  std::vector<float> half_squares_;  // [part][entry]
};

}  // namespace

std::unique_ptr<Codec> make_product_codec(uint32_t dim, uint64_t seed) {
  return std::make_unique<ProductCodec>(dim, seed);
}

}  // namespace tercet
