#include "codec/packed_queries.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace tercet {

PackedQueries::PackedQueries(const RowsView& rows, const float* scales)
    : rows_(rows.rows), dim_(rows.dim), format_(rows.format) {
  const PanelKernels& kernel = kernels().panel(format_);
  const size_t groups = panel_groups(format_, dim_);
  panel_bytes_ = (groups * kernel.panel_group_bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  values_.resize(num_panels() * panel_bytes_);
  start_.resize(num_panels() * kPanelRows);
  scales_.resize(num_panels() * kPanelRows);
  std::fill(scales_.begin(), scales_.end(), 1.0f);
  if (scales) std::copy(scales, scales + rows_, scales_.begin());
  for (size_t p = 0; p < num_panels(); ++p) {
    const size_t first = p * kPanelRows;
    kernel.pack(rows.row(first), rows.stride, static_cast<int>(std::min<size_t>(kPanelRows, rows_ - first)),
                dim_, values_.data() + p * panel_bytes_, start_.data() + first);
  }
}

PackedQueries::PackedQueries(size_t rows, uint32_t dim, Format format, AlignedVector<uint8_t> values,
                             const float* scales)
    : rows_(rows), dim_(dim), format_(format), values_(std::move(values)) {
  panel_bytes_ = values_.size() / num_panels();
  start_.resize(num_panels() * kPanelRows);
  scales_.assign(scales, scales + num_panels() * kPanelRows);
}

Panel PackedQueries::panel(size_t i) const {
  const size_t first = i * kPanelRows;
  return {values_.data() + i * panel_bytes_, start_.data() + first, scales_.data() + first,
          static_cast<int>(std::min<size_t>(kPanelRows, rows_ - first)),
          num_centroids_ ? centroid_scores_.data() + first * num_centroids_ : nullptr};
}

void PackedQueries::score_centroids(const PackedQueries& queries, const RowsView& centroids) {
  num_centroids_ = centroids.rows;
  centroid_scores_.resize(num_panels() * num_centroids_ * kPanelRows);
  for (size_t p = 0; p < num_panels(); ++p) {
    float* const table = centroid_scores_.data() + p * num_centroids_ * kPanelRows;
    kernels().panel(centroids.format).dot(queries.panel(p), centroids, 0, num_centroids_, table);
    // The score of a residual is multiplied with the scale of its query row afterwards, and this with it. The
    // inverse of a scale among the smallest floats is infinite.
    const float* const scales = scales_.data() + p * kPanelRows;
    float factors[kPanelRows];
    bool divide = false;
    for (int r = 0; r < kPanelRows; ++r) {
      divide = divide || (scales[r] > 0 && scales[r] < 0x1p-100f);
      factors[r] = scales[r] > 0 ? 1 / scales[r] : 0;
    }
    for (size_t c = 0; c < num_centroids_; ++c) {
      float* const row = table + c * kPanelRows;
      for (int r = 0; r < kPanelRows; ++r) {
        row[r] = !divide ? row[r] * factors[r] : scales[r] > 0 ? row[r] / scales[r] : 0;
      }
    }
  }
}

}  // namespace tercet
