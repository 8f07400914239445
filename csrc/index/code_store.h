// Encoded rows in memory: what an index scans. With a codebook, what is encoded is the residual of each row:
// the difference from its centroid.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "codec/codebook.h"
#include "codec/codec.h"
#include "codec/kmeans.h"
#include "core/buffer.h"
#include "core/types.h"
#include "storage/container.h"

namespace tercet {

// Rows one after the other are read in one stream. Rows that are visited one here, one there are padded, so
// that none touches more cache lines than it must: of 50 bytes each, packed, most would lie on two.
enum class RowLayout : uint8_t { packed, cache_lines };

class CodeStore {
 public:
  CodeStore(std::unique_ptr<Codec> codec, uint32_t dim, RowLayout layout = RowLayout::packed)
      : codec_(std::move(codec)), dim_(dim), stride_(stride_of(codec_->row_bytes(dim), layout)) {}

  const Codec& codec() const { return *codec_; }
  uint32_t dim() const { return dim_; }
  size_t rows() const { return rows_; }
  size_t bytes() const;
  RowsView view() const;

  // Of residuals, before the first row: codebook and codec from rows like those to come, `stride` floats
  // apart.
  void train(const float* rows, size_t count, size_t stride, const KMeans& options);
  const Codebook* codebook() const { return codebook_.get(); }
  // Further centroids, behind those there are, for rows like these: trained on the half of them that is
  // farther from its centroids. Rows that are stored stay what they are.
  void grow(const float* rows, size_t count, size_t stride, const KMeans& options);
  // Takes what another store has learned, and shares the memory. Throws Error if it has learned nothing,
  // stores other rows, or this one has learned something else; further centroids are the same.
  void share_training(const CodeStore& other);
  // Whether rows of the other mean the same here, as far as it can be seen.
  bool is_like(const CodeStore& other) const;
  // The mean of how long residuals are, to vectors of length 1, of rows that are spread over all.
  double mean_residual() const;

  // Makes room, and memory its own that is a file's, after which resize() cannot fail, and encode() and
  // move() may be called.
  void reserve(size_t rows);
  // New rows are uninitialised. Shrinking frees nothing.
  void resize(size_t rows);
  // `centroid`: the number of the one nearest to the vector; without a codebook it is not used.
  void encode(size_t row, const float* vector, uint16_t centroid = 0) noexcept;
  void decode(size_t row, float* vector) const;
  // Copies rows [from, from + count) to `to`; the ranges may overlap.
  void move(size_t from, size_t to, size_t count);
  // Copies rows [from, from + count) of a store that is like this one to `to`.
  void copy(const CodeStore& other, size_t from, size_t to, size_t count) noexcept;

  PackedQueries bind(const float* queries, size_t count) const;

  // Some rows, in the order of `rows`, and what was trained.
  void save(Sections& out, const std::vector<TokenSpan>& rows) const;
  // Rows stay in the file, and nobody has looked at them; `check_codes` throws Error for what no codec makes,
  // once these sections have been compared with their checksums.
  static std::vector<std::string> payload() { return {"codes", "scales", "centroids"}; }
  static bool is_in(const Container& file) { return !file.view<uint8_t>("codes").empty(); }
  void restore(const Container& file, size_t rows);
  void check_codes() const;

 private:
  static size_t stride_of(size_t row_bytes, RowLayout layout);
  void restore_training(const Container& file);
  bool has_layout_of(const CodeStore& other) const;
  bool knows_training_of(const CodeStore& other) const;

  std::unique_ptr<Codec> codec_;
  uint32_t dim_;
  size_t stride_;  // bytes from row to row
  size_t rows_ = 0;
  Buffer<uint8_t> codes_;
  Buffer<uint16_t> scales_;
  Buffer<uint16_t> centroids_;
  std::shared_ptr<const Codebook> codebook_;
};

}  // namespace tercet
