// Encoded rows in memory: what an index scans.
#pragma once
#include <memory>

#include "codec/codec.h"
#include "core/aligned.h"
#include "core/types.h"

namespace tercet {

class CodeStore {
 public:
  CodeStore(std::unique_ptr<Codec> codec, uint32_t dim) : codec_(std::move(codec)), dim_(dim) {}

  const Codec& codec() const { return *codec_; }
  uint32_t dim() const { return dim_; }
  size_t rows() const { return rows_; }
  size_t bytes() const { return codes_.size() + scales_.size() * sizeof(uint16_t); }
  RowsView view() const;

  // Makes room, after which resize() cannot fail.
  void reserve(size_t rows);
  // New rows are uninitialised. Shrinking frees nothing.
  void resize(size_t rows);
  void encode(size_t row, const float* vector) noexcept;
  void decode(size_t row, float* vector) const;
  // Copies rows [from, from + count) to `to`; the ranges may overlap.
  void move(size_t from, size_t to, size_t count);

  // The raw parts, for saving and opening.
  const AlignedVector<uint8_t>& codes() const { return codes_; }
  const std::vector<uint16_t>& scales() const { return scales_; }
  void restore(const uint8_t* codes, size_t code_bytes, const uint16_t* scales, size_t num_scales,
               size_t rows);

 private:
  std::unique_ptr<Codec> codec_;
  uint32_t dim_;
  size_t rows_ = 0;
  AlignedVector<uint8_t> codes_;
  std::vector<uint16_t> scales_;
};

}  // namespace tercet
