// A search by MaxSim: queries are bound, scored against documents, and the best are ranked; some queries at a
// time, as many as the workspace holds.
#include <algorithm>

#include "cuda/checks.h"
#include "cuda/runtime.h"

namespace tercet::cuda {
namespace {

struct DocumentSizes {
  Format format;
  uint32_t dim, panels_each, items, centroids;

  DocumentSizes(const TercetDocuments& documents, const TercetQueries& queries, const TercetSearch& search)
      : format(static_cast<Format>(documents.tokens.format)),
        dim(documents.tokens.dim),
        panels_each((queries.tokens + kPanelRows - 1) / kPanelRows),
        items(search.candidates ? search.each : documents.count),
        centroids(documents.codebook.codes ? static_cast<uint32_t>(documents.codebook.count) : 0) {}
  uint64_t panels(uint32_t queries) const { return uint64_t{queries} * panels_each; }
};

void check(const TercetDocuments& documents, const TercetQueries& queries, const TercetSearch& search) {
  checked_rows(documents.tokens);
  check_queries(queries);
  check_search(search);
  require(documents.count <= kMaxRows && search.each <= kMaxRows, "documents: more than ", kMaxRows);
  if (documents.codebook.codes) {
    checked_rows(documents.codebook);
    const auto format = static_cast<Format>(documents.tokens.format);
    require(documents.codebook.format == static_cast<uint32_t>(Format::int8) &&
                documents.codebook.dim == documents.tokens.dim && documents.codebook.count >= 1,
            "codebook: expected int8 rows of ", documents.tokens.dim, " dimensions");
    require(format == Format::int2 || format == Format::int1, "residuals: expected int2 or int1 codes");
    require(documents.tokens.centroids != nullptr || documents.tokens.count == 0, "residuals: no centroids");
  }
  require(!search.by_id || documents.ids, "candidates: these documents have no ids on the device");
}

// What a group of queries takes.
struct DocumentMemory {
  BoundPanels bound, for_centroids;
  float* table;
  float* scores;

  DocumentMemory(const DocumentSizes& sizes, const TercetSearch& search, uint32_t count, Workspace& workspace)
      : bound(workspace, sizes.format, sizes.dim, sizes.panels(count)),
        for_centroids(workspace, Format::int8, sizes.dim, sizes.centroids ? sizes.panels(count) : 0),
        table(workspace.take<float>(sizes.panels(count) * sizes.centroids * kPanelRows)),
        scores(search.k ? workspace.take<float>(uint64_t{count} * sizes.items) : nullptr) {}
};

// One group of queries.
void search_group(const TercetDocuments& given, const TercetQueries& queries, const TercetSearch& search,
                  uint32_t first, uint32_t count, const int64_t* candidates, Workspace workspace,
                  Stream stream) {
  const DocumentSizes sizes(given, queries, search);
  const auto panels = static_cast<uint32_t>(sizes.panels(count));
  const auto [bound, for_centroids, table, own_scores] = DocumentMemory(sizes, search, count, workspace);
  float* const scores = search.k ? own_scores : search.scores + uint64_t{first} * sizes.items;

  const uint32_t* const lengths = queries.lengths ? queries.lengths + first : nullptr;
  BindArguments arguments{};
  arguments.values = element_address(queries, uint64_t{first} * queries.tokens * sizes.dim);
  arguments.element = static_cast<Element>(queries.element);
  arguments.tokens = queries.tokens;
  arguments.lengths = lengths;
  arguments.panels_each = sizes.panels_each;
  arguments.dim = sizes.dim;
  arguments.normalised = queries.normalised != 0;
  arguments.seed = given.seed;
  bound.bind(sizes.format, arguments, panels, stream);

  MaxSimArguments scan{};
  scan.rows = checked_rows(given.tokens);
  scan.panels = bound.view();
  if (sizes.centroids) {
    for_centroids.bind(Format::int8, arguments, panels, stream);
    centroid_scores(
        {checked_rows(given.codebook), for_centroids.view(), bound.scales, sizes.dim, sizes.centroids, table},
        panels, multiprocessors(), stream);
    scan.panels.centroid_scores = table;
    scan.panels.centroids = sizes.centroids;
  }
  scan.documents = {given.begins, given.ends, given.lengths, given.tokens.count, given.count, given.each};
  scan.queries = {lengths, count, queries.tokens};
  scan.dim = sizes.dim;
  scan.candidates = candidates ? candidates + uint64_t{first} * sizes.items : nullptr;
  scan.items = sizes.items;
  scan.scores = scores;
  maxsim(sizes.format, scan, multiprocessors(), stream);
  if (!search.k) return;

  RankArguments best{};
  best.scores = scores;
  best.n = sizes.items;
  best.k = search.k;
  best.candidates = scan.candidates;
  best.count = given.count;
  best.ids = given.ids;
  best.best_ids = search.ids + uint64_t{first} * search.k;
  best.best_scores = search.scores + uint64_t{first} * search.k;
  rank(best, count, stream);
}

void search(const TercetDocuments& documents, const TercetQueries& queries, const TercetSearch& search,
            Workspace workspace, uint64_t* bytes, Stream stream) {
  check(documents, queries, search);
  const uint64_t listed = search.candidates && search.by_id ? uint64_t{queries.count} * search.each : 0;
  int64_t* const numbers = workspace.take<int64_t>(listed);
  const DocumentSizes sizes(documents, queries, search);
  const auto used = [&](uint32_t count) {
    Workspace counting(nullptr, 0);
    DocumentMemory(sizes, search, count, counting);
    return counting.used();
  };
  const uint32_t group = largest_group(queries.count, workspace.left(), used);
  if (workspace.counts()) {
    *bytes = workspace.used() + used(group);
    return;
  }
  if (listed) {
    order_candidates({search.candidates, search.each, documents.ids, documents.count, numbers}, queries.count,
                     stream);
  }
  for (uint32_t first = 0; first < queries.count; first += group) {
    search_group(documents, queries, search, first, std::min(group, queries.count - first),
                 listed ? numbers : search.candidates, workspace, stream);
  }
  check_launches();
}

}  // namespace
}  // namespace tercet::cuda

int32_t tercet_cuda_documents_workspace(const TercetDocuments* documents, const TercetQueries* queries,
                                        const TercetSearch* search, uint64_t* bytes) {
  using namespace tercet::cuda;
  return guarded([&] { tercet::cuda::search(*documents, *queries, *search, {nullptr, 0}, bytes, Stream{}); });
}

int32_t tercet_cuda_search_documents(const TercetDocuments* documents, const TercetQueries* queries,
                                     const TercetSearch* search, void* stream) {
  using namespace tercet::cuda;
  return guarded([&] {
    tercet::require(search->workspace != nullptr, "workspace: none given");
    const OnDevice device(search->device);
    tercet::cuda::search(*documents, *queries, *search, {search->workspace, search->workspace_bytes}, nullptr,
                         static_cast<Stream>(stream));
  });
}
