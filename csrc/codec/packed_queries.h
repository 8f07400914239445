// Query rows packed into panels of the selected kernels.
#pragma once
#include "core/aligned.h"
#include "core/types.h"
#include "kernels/kernels.h"

namespace tercet {

class PackedQueries {
 public:
  // Packs rows as stored in `rows` (int8 and int4: signed bytes). `scales`, if not null, multiplies the
  // scores of each row. rows.data need not outlive the call.
  explicit PackedQueries(const RowsView& rows, const float* scales = nullptr);

  // Takes panels as they are, one after another in `values`.
  PackedQueries(size_t rows, uint32_t dim, Format format, AlignedVector<uint8_t> values, const float* scales);

  size_t rows() const { return rows_; }
  size_t num_panels() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  uint32_t dim() const { return dim_; }
  Format format() const { return format_; }
  Panel panel(size_t i) const;

  // Rows are residuals of these centroids: makes the tables that their scores are looked up in. `queries` are
  // the same rows, packed for the centroids.
  void score_centroids(const PackedQueries& queries, const RowsView& centroids);

 private:
  size_t rows_;
  uint32_t dim_;
  Format format_;
  size_t panel_bytes_;
  AlignedVector<uint8_t> values_;
  AlignedVector<int32_t> start_;
  AlignedVector<float> scales_;
  AlignedVector<float> centroid_scores_;  // [panels][centroids][32]
  size_t num_centroids_ = 0;
};

}  // namespace tercet
