// A search of single vectors: queries are bound, bins of rows scored, and the rows of the best bins ranked;
// some queries at a time, as many as the workspace holds.
#include <algorithm>

#include "cuda/checks.h"
#include "cuda/runtime.h"

namespace tercet::cuda {
namespace {

struct VectorSizes {
  Format format;
  uint32_t dim, rows, bin, bins, chosen;

  VectorSizes(const TercetVectors& vectors, const TercetSearch& search)
      : format(static_cast<Format>(vectors.rows.format)),
        dim(vectors.rows.dim),
        rows(static_cast<uint32_t>(vectors.rows.count)),
        bin(bin_rows(rows, search.k)),
        bins((rows + bin - 1) / bin),
        chosen(std::min(search.k, bins)) {}
};

void check(const TercetVectors& vectors, const TercetQueries& queries, const TercetSearch& search) {
  checked_rows(vectors.rows);
  check_queries(queries);
  check_search(search);
  require(search.k >= 1, "k: expected at least 1, got 0");
  require(queries.tokens == 1 && !queries.lengths, "queries: expected one vector each");
  require(!search.candidates, "candidates: single vectors have none");
}

// One group of queries; with a workspace that only counts, how much that takes.
void search_group(const TercetVectors& given, const TercetQueries& queries, const TercetSearch& search,
                  uint32_t first, uint32_t count, Workspace workspace, uint64_t* used, Stream stream) {
  const VectorSizes sizes(given, search);
  const uint32_t panels = (count + kPanelRows - 1) / kPanelRows;
  const BoundPanels bound(workspace, sizes.format, sizes.dim, panels);
  auto* const bins = workspace.take<float>(uint64_t{count} * sizes.bins);
  auto* const numbers = workspace.take<uint32_t>(uint64_t{count} * sizes.chosen);
  auto* const scores = workspace.take<float>(uint64_t{count} * sizes.chosen * sizes.bin);
  if (used) *used = workspace.used();
  if (workspace.counts()) return;

  BindArguments arguments{};
  arguments.values = element_address(queries, uint64_t{first} * sizes.dim);
  arguments.element = static_cast<Element>(queries.element);
  arguments.tokens = count;  // one text, of which every token is a query
  arguments.panels_each = panels;
  arguments.dim = sizes.dim;
  arguments.normalised = queries.normalised != 0;
  arguments.seed = given.seed;
  bound.bind(sizes.format, arguments, panels, stream);

  const Rows rows = checked_rows(given.rows);
  score_bins(sizes.format, {rows, bound.view(), sizes.rows, sizes.dim, sizes.bin, sizes.bins, count, bins},
             multiprocessors(), stream);
  choose_bins({bins, sizes.bins, sizes.chosen, numbers}, count, stream);
  score_rows(sizes.format,
             {rows, bound.view(), sizes.rows, sizes.dim, sizes.bin, sizes.chosen, numbers, scores}, count,
             stream);

  RankArguments best{};
  best.scores = scores;
  best.n = uint64_t{sizes.chosen} * sizes.bin;
  best.k = search.k;
  best.numbers = numbers;
  best.bin = sizes.bin;
  best.count = given.rows.count;
  best.ids = given.ids;
  best.best_ids = search.ids + uint64_t{first} * search.k;
  best.best_scores = search.scores + uint64_t{first} * search.k;
  rank(best, count, stream);
}

void search(const TercetVectors& vectors, const TercetQueries& queries, const TercetSearch& search,
            Workspace workspace, uint64_t* bytes, Stream stream) {
  check(vectors, queries, search);
  uint64_t panel = 0;  // a group of one takes a panel as well
  search_group(vectors, queries, search, 0, kPanelRows, Workspace(nullptr, 0), &panel, stream);
  const uint64_t panels = std::max<uint64_t>(workspace.left() / panel, 1);
  const auto group = static_cast<uint32_t>(std::min<uint64_t>(panels * kPanelRows, queries.count));
  if (workspace.counts()) {
    search_group(vectors, queries, search, 0, group, workspace, bytes, stream);
    return;
  }
  for (uint32_t first = 0; first < queries.count; first += group) {
    search_group(vectors, queries, search, first, std::min(group, queries.count - first), workspace, nullptr,
                 stream);
  }
  check_launches();
}

}  // namespace
}  // namespace tercet::cuda

int32_t tercet_cuda_vectors_workspace(const TercetVectors* vectors, const TercetQueries* queries,
                                      const TercetSearch* search, uint64_t* bytes) {
  using namespace tercet::cuda;
  return guarded([&] { tercet::cuda::search(*vectors, *queries, *search, {nullptr, 0}, bytes, Stream{}); });
}

int32_t tercet_cuda_search_vectors(const TercetVectors* vectors, const TercetQueries* queries,
                                   const TercetSearch* search, void* stream) {
  using namespace tercet::cuda;
  return guarded([&] {
    tercet::require(search->workspace != nullptr, "workspace: none given");
    const OnDevice device(search->device);
    tercet::cuda::search(*vectors, *queries, *search, {search->workspace, search->workspace_bytes}, nullptr,
                         static_cast<Stream>(stream));
  });
}
