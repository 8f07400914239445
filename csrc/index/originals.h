// The float32 vectors beside their codes, and how far apart the two are: what turns a score of the codes into
// bounds of the score of the vectors.
#pragma once
#include <vector>

#include "core/buffer.h"
#include "core/types.h"
#include "storage/container.h"

namespace tercet {

class Originals {
 public:
  explicit Originals(uint32_t dim) : dim_(dim) {}

  // Makes room, and memory its own that is a file's, after which resize() cannot fail, and set() and move()
  // may be called.
  void reserve(size_t rows);
  void resize(size_t rows);
  // `decoded`: what the codes of the vector stand for.
  void set(size_t row, const float* vector, const float* decoded) noexcept;
  void move(size_t from, size_t to) noexcept;

  const float* row(size_t i) const { return values_.data() + i * dim_; }
  RowsView view(Format format) const;
  size_t bytes() const { return values_.size() * 4 + errors_.size() * 8; }

  // For every row, bounds of |score of the vector - score of its code| plus the row's bias, for queries of
  // length at most `query_length` of which rounding cut off at most `query_error`: `upper` is bias + bound,
  // so that a scan of the codes with it as bias gives upper bounds, and `widths` is twice the bound. `scale`:
  // what the shortest of the queries was divided by before.
  void bounds(double query_length, double query_error, double scale, const float* bias, float* upper,
              float* widths) const noexcept;

  void save(Sections& out) const;
  // The vectors stay in the file, and nobody has looked at them.
  static constexpr const char* kPayload = "originals";
  void restore(const Container& file, size_t rows);

  // What rounding can change in a score because its products and sums are subnormal.
  static double subnormals(uint32_t dim) { return static_cast<double>(dim) * 0x1p-147; }

 private:
  uint32_t dim_;
  Buffer<float> values_;
  std::vector<float> errors_;   // |x - decoded|, not below
  std::vector<float> lengths_;  // max(|x|, |decoded|), not below
};

}  // namespace tercet
