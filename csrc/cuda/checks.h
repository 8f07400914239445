// Sizes of what a caller gives, which are checked, and rows and queries as kernels take them.
#pragma once
#include "core/error.h"
#include "cuda/abi.h"
#include "cuda/formats.h"
#include "cuda/launches.h"
#include "cuda/runtime.h"

namespace tercet::cuda {

inline uint32_t stride_of(Format format, uint32_t dim) {
  uint32_t stride = 0;
  with_format(format, [&](auto f) { stride = Layout<f()>::stride(dim); });
  return stride;
}

inline Format checked_format(uint32_t format) {
  require(format <= static_cast<uint32_t>(Format::int1), "format: ", format, " has no kernels on a device");
  return static_cast<Format>(format);
}

inline void check_dim(uint32_t dim) {
  require(dim >= 1 && dim <= kMaxDim, "dim: expected 1 to ", kMaxDim, " on a device, got ", dim);
}

// So that what kernels count beyond the last row, a step of a whole grid at most, stays within 32 bits.
constexpr uint64_t kMaxRows = (uint64_t{1} << 32) - (uint64_t{1} << 24);

inline Rows checked_rows(const TercetRows& rows) {
  const Format format = checked_format(rows.format);
  check_dim(rows.dim);
  require(rows.count <= kMaxRows, "rows: expected at most ", kMaxRows, " on a device, got ", rows.count);
  return {static_cast<const uint8_t*>(rows.codes), stride_of(format, rows.dim), rows.scales, rows.centroids};
}

inline void check_queries(const TercetQueries& queries) {
  require(queries.element <= static_cast<uint32_t>(Element::float16), "queries: element ", queries.element);
  require(queries.count >= 1 && queries.count <= INT32_MAX, "queries: expected at least one, got ",
          queries.count);
  require(queries.tokens >= 1 && queries.tokens <= 65536, "queries: expected 1 to 65536 tokens, got ",
          queries.tokens);
}

inline void check_search(const TercetSearch& search) {
  require(search.k <= kMaxSelected, "k: expected at most ", kMaxSelected, " on a device, got ", search.k);
  require(search.each <= kMaxCandidates || !search.by_id, "candidates: expected at most ", kMaxCandidates,
          " of a query by id, got ", search.each);
}

// Panels of a format, and how query rows get into them.
struct BoundPanels {
  uint32_t* words;
  int32_t* start;
  float* scales;

  BoundPanels(Workspace& workspace, Format format, uint32_t dim, uint64_t panels)
      : words(workspace.take<uint32_t>(panels * words_of_panel(format, dim))),
        start(workspace.take<int32_t>(panels * kPanelRows)),
        scales(workspace.take<float>(panels * kPanelRows)) {}

  Panels view() const { return {words, start, scales, nullptr, 0}; }
  void bind(Format format, BindArguments arguments, uint32_t panels, Stream stream) const {
    arguments.words = words;
    arguments.start = start;
    arguments.scales = scales;
    cuda::bind(format, arguments, panels, stream);
  }
};

inline const void* element_address(const TercetQueries& queries, uint64_t element) {
  const uint64_t bytes = queries.element == static_cast<uint32_t>(Element::float32) ? 4 : 2;
  return static_cast<const uint8_t*>(queries.values) + element * bytes;
}

}  // namespace tercet::cuda
