#include "codec/packed_queries.h"

#include <algorithm>

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

Panel PackedQueries::panel(size_t i) const {
  const size_t first = i * kPanelRows;
  return {values_.data() + i * panel_bytes_, start_.data() + first, scales_.data() + first,
          static_cast<int>(std::min<size_t>(kPanelRows, rows_ - first))};
}

}  // namespace tercet
