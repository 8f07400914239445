// Scores of borrowed arrays: dot, topk, maxsim.
#include "bindings/arrays.h"
#include "core/error.h"
#include "index/scan.h"

namespace tercet {
namespace {

// Queries of a borrowed array are checked first, its documents block by block while they are in cache.
void check_queries(const RowsView& queries) {
  for (size_t i = 0; i < queries.rows; ++i) {
    require(kernels().all_finite(queries.format, queries.row(i), queries.dim), "queries: row ", i,
            " has a value that is not finite");
  }
}

void check_pair(const RowsView& queries, const RowsView& docs) {
  require(queries.dim == docs.dim, "docs: expected ", queries.dim, " dimensions as the queries have, got ",
          docs.dim);
  if (queries.format != docs.format) fail(ErrorKind::type, "queries and docs must have one dtype");
}

ScanRows borrowed(const RowsView& docs) {
  ScanRows rows;
  rows.rows = docs;
  rows.borrowed = true;
  rows.what = "docs";
  return rows;
}

py::array_t<float> dot(const py::array& q, const py::array& d, size_t given_threads) {
  const size_t threads = threads_of(given_threads);
  const RowsView queries = rows_view(q, "queries"), docs = rows_view(d, "docs");
  check_pair(queries, docs);
  std::vector<float> scores(queries.rows * docs.rows);
  without_gil([&] {
    check_queries(queries);
    scan_dot(PackedQueries(queries), borrowed(docs), scores.data(), threads);
  });
  return to_array(std::move(scores),
                  {static_cast<py::ssize_t>(queries.rows), static_cast<py::ssize_t>(docs.rows)});
}

py::tuple topk(const py::array& q, const py::array& d, size_t k, size_t given_threads) {
  const size_t threads = threads_of(given_threads);
  const RowsView queries = rows_view(q, "queries"), docs = rows_view(d, "docs");
  check_pair(queries, docs);
  require(docs.rows < UINT32_MAX, "docs: expected fewer than 2^32 rows, got ", docs.rows);
  Results results;
  without_gil([&] {
    check_queries(queries);
    const auto hits = scan_topk(PackedQueries(queries), borrowed(docs), k, TieBreak(), threads);
    results.k = k;
    results.scores.assign(hits.size() * k, -std::numeric_limits<float>::infinity());
    IntIds ids(hits.size() * k);
    for (size_t i = 0; i < hits.size(); ++i) {
      results.filled.push_back(static_cast<uint32_t>(hits[i].size()));
      for (size_t j = 0; j < hits[i].size(); ++j) {
        ids[i * k + j] = hits[i][j].row;
        results.scores[i * k + j] = hits[i][j].score;
      }
    }
    results.ids = std::move(ids);
  });
  return results_to_python(std::move(results));
}

py::array_t<float> maxsim(const py::array& q, const py::array_t<int64_t>& q_offsets, const py::array& d,
                          const py::array_t<int64_t>& d_offsets, size_t given_threads) {
  const size_t threads = threads_of(given_threads);
  const RowsView queries = rows_view(q, "queries"), docs = rows_view(d, "docs");
  check_pair(queries, docs);
  const std::vector<size_t> query_offsets = offsets_of(q_offsets, queries.rows, "queries");
  const std::vector<size_t> offsets = offsets_of(d_offsets, docs.rows, "docs");
  const size_t nq = query_offsets.size() - 1, nd = offsets.size() - 1;
  std::vector<float> scores(nq * nd);
  without_gil([&] {
    check_queries(queries);
    std::vector<TokenSpan> texts(nd);
    for (size_t i = 0; i < nd; ++i) texts[i] = {offsets[i], offsets[i + 1] - offsets[i]};
    // Groups of queries bound the scratch of a scan.
    constexpr size_t kGroupRows = 2048;
    for (size_t first = 0; first < nq;) {
      size_t end = first + 1;
      while (end < nq && query_offsets[end + 1] - query_offsets[first] <= kGroupRows) ++end;
      RowsView group = queries;
      group.data = queries.row(query_offsets[first]);
      group.rows = query_offsets[end] - query_offsets[first];
      std::vector<size_t> group_offsets;
      for (size_t i = first; i <= end; ++i) group_offsets.push_back(query_offsets[i] - query_offsets[first]);
      const PackedQueries packed(group);
      scan_maxsim({packed, group_offsets}, borrowed(docs), texts.data(), nd, threads,
                  [&](size_t, size_t text, size_t n, const float* block) {
                    for (size_t i = first; i < end; ++i) {
                      const float* from = block + (i - first) * n;
                      std::copy(from, from + n, scores.data() + i * nd + text);
                    }
                  });
      first = end;
    }
  });
  return to_array(std::move(scores), {static_cast<py::ssize_t>(nq), static_cast<py::ssize_t>(nd)});
}

}  // namespace

void register_scoring(py::module_& m) {
  m.def("dot", &dot, py::arg("queries"), py::arg("docs"), py::arg("threads"));
  m.def("topk", &topk, py::arg("queries"), py::arg("docs"), py::arg("k"), py::arg("threads"));
  m.def("maxsim", &maxsim, py::arg("queries"), py::arg("query_offsets"), py::arg("docs"),
        py::arg("doc_offsets"), py::arg("threads"));
}

}  // namespace tercet
