// Encoded rows in memory: what an index scans. With a codebook, what is encoded is the residual of each row:
// the difference from its centroid.
#pragma once
#include <memory>

#include "codec/codebook.h"
#include "codec/codec.h"
#include "codec/kmeans.h"
#include "core/aligned.h"
#include "core/types.h"

namespace tercet {

class CodeStore {
 public:
  CodeStore(std::unique_ptr<Codec> codec, uint32_t dim) : codec_(std::move(codec)), dim_(dim) {}

  const Codec& codec() const { return *codec_; }
  uint32_t dim() const { return dim_; }
  size_t rows() const { return rows_; }
  size_t bytes() const;
  RowsView view() const;

  // Of residuals, before the first row: codebook and codec from rows like those to come, `stride` floats
  // apart.
  void train(const float* rows, size_t count, size_t stride, const KMeans& options);
  const Codebook* codebook() const { return codebook_.get(); }

  // Makes room, after which resize() cannot fail.
  void reserve(size_t rows);
  // New rows are uninitialised. Shrinking frees nothing.
  void resize(size_t rows);
  // `centroid`: the number of the one nearest to the vector; without a codebook it is not used.
  void encode(size_t row, const float* vector, uint16_t centroid = 0) noexcept;
  void decode(size_t row, float* vector) const;
  // Copies rows [from, from + count) to `to`; the ranges may overlap.
  void move(size_t from, size_t to, size_t count);

  PackedQueries bind(const float* queries, size_t count) const;

  // The raw parts, for saving and opening.
  const AlignedVector<uint8_t>& codes() const { return codes_; }
  const std::vector<uint16_t>& scales() const { return scales_; }
  const std::vector<uint16_t>& centroids() const { return centroids_; }
  void restore_training(std::unique_ptr<const Codebook> codebook, const std::vector<float>& parameters) {
    codec_->restore(parameters);
    codebook_ = std::move(codebook);
  }
  void restore(const uint8_t* codes, size_t code_bytes, const std::vector<uint16_t>& scales,
               const std::vector<uint16_t>& centroids, size_t rows);

 private:
  std::unique_ptr<Codec> codec_;
  uint32_t dim_;
  size_t rows_ = 0;
  AlignedVector<uint8_t> codes_;
  std::vector<uint16_t> scales_;
  std::vector<uint16_t> centroids_;
  std::unique_ptr<const Codebook> codebook_;
};

}  // namespace tercet
