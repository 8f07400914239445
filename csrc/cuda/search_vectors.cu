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

uint32_t panels_of(uint32_t queries) { return (queries + kPanelRows - 1) / kPanelRows; }

// What a group of queries takes.
struct VectorMemory {
  BoundPanels bound;
  float* bins;
  uint32_t* numbers;
  float* scores;

  VectorMemory(const VectorSizes& sizes, uint64_t count, Workspace& workspace)
      : bound(workspace, sizes.format, sizes.dim, panels_of(static_cast<uint32_t>(count))),
        bins(workspace.take<float>(count * sizes.bins)),
        numbers(workspace.take<uint32_t>(count * sizes.chosen)),
        scores(workspace.take<float>(count * sizes.chosen * sizes.bin)) {}
};

// One group of queries.
void search_group(const TercetVectors& given, const TercetQueries& queries, const TercetSearch& search,
                  uint32_t first, uint32_t count, Workspace workspace, Stream stream) {
  const VectorSizes sizes(given, search);
  const uint32_t panels = panels_of(count);
  const auto [bound, bins, numbers, scores] = VectorMemory(sizes, count, workspace);

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
  const VectorSizes sizes(vectors, search);
  const auto queries_of = [&](uint32_t panels) {
    return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{panels} * kPanelRows, queries.count));
  };
  const auto used = [&](uint32_t panels) {  // whole panels: a group of one takes as much of them
    Workspace counting(nullptr, 0);
    VectorMemory(sizes, queries_of(panels), counting);
    return counting.used();
  };
  const uint32_t panels = largest_group(panels_of(queries.count), workspace.left(), used);
  if (workspace.counts()) {
    *bytes = used(panels);
    return;
  }
  const uint32_t group = queries_of(panels);
  for (uint32_t first = 0; first < queries.count; first += group) {
    search_group(vectors, queries, search, first, std::min(group, queries.count - first), workspace, stream);
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
