#include "index/multivector.h"

#include "bindings/arrays.h"
#include "bindings/saving.h"

namespace tercet {
namespace {

TokenRows token_rows(const py::array& values, const py::array_t<int64_t>& offsets, uint32_t dim,
                     const char* name) {
  const RowsView rows = float_rows(values, dim, name);
  return {reinterpret_cast<const float*>(rows.data), rows.stride / sizeof(float),
          offsets_of(offsets, rows.rows, name)};
}

py::object add(MultiVectorIndex& index, const py::array& values, const py::array_t<int64_t>& offsets,
               const py::object& ids, size_t threads) {
  const TokenRows tokens = token_rows(values, offsets, index.dim(), "vectors");
  std::optional<Ids> wanted;
  if (!ids.is_none()) wanted = ids_of(ids);
  const bool given = wanted.has_value();
  Ids used;
  without_gil([&] { used = index.add(tokens, std::move(wanted), threads_of(threads)); });
  return given ? ids : ids_to_python(std::move(used));
}

py::tuple search(const MultiVectorIndex& index, const py::array& values, const py::array_t<int64_t>& offsets,
                 size_t k, const py::list& filters, size_t candidates, bool exact, size_t threads) {
  const TokenRows queries = token_rows(values, offsets, index.dim(), "queries");
  const Filters allowed = filters_of(filters);
  Results results;
  without_gil([&] { results = index.search(queries, k, allowed, {candidates, exact}, threads_of(threads)); });
  return results_to_python(std::move(results));
}

py::tuple get(const MultiVectorIndex& index, const py::object& ids) {
  const Ids wanted = ids_of(ids);
  MultiVectorIndex::Tokens tokens;
  without_gil([&] { tokens = index.get(wanted); });
  const auto texts = static_cast<py::ssize_t>(tokens.offsets.size());
  const auto rows = static_cast<py::ssize_t>(tokens.offsets.back());
  return py::make_tuple(to_array(std::move(tokens.values), {rows, static_cast<py::ssize_t>(index.dim())}),
                        to_array(std::move(tokens.offsets), {texts}));
}

py::tuple token_scores(const MultiVectorIndex& index, const py::array_t<float, py::array::c_style>& query,
                       const py::object& ids, size_t threads) {
  const RowsView rows = float_rows(query, index.dim(), "queries");
  const Ids texts = ids_of(ids);
  MultiVectorIndex::TokenScores found;
  without_gil([&] { found = index.token_scores(query.data(), rows.rows, texts, threads_of(threads)); });
  const auto tokens = static_cast<py::ssize_t>(rows.rows), total = found.offsets.back();
  const auto bounds = static_cast<py::ssize_t>(found.offsets.size());
  return py::make_tuple(to_array(std::move(found.scores), {tokens, total}),
                        to_array(std::move(found.offsets), {bounds}));
}

void train(MultiVectorIndex& index, const py::array& values, const py::array_t<int64_t>& offsets,
           size_t centroids, int iterations, size_t threads, Steps& steps) {
  const TokenRows tokens = token_rows(values, offsets, index.dim(), "vectors");
  without_gil([&] { index.train(tokens, centroids, iterations, threads_of(threads), &steps); });
}

void grow(MultiVectorIndex& index, const py::array& values, const py::array_t<int64_t>& offsets,
          size_t centroids, int iterations, size_t threads) {
  const TokenRows tokens = token_rows(values, offsets, index.dim(), "vectors");
  without_gil([&] { index.grow(tokens, centroids, iterations, threads_of(threads)); });
}

using Slots = py::array_t<uint32_t, py::array::c_style>;

void append_from(MultiVectorIndex& index, const MultiVectorIndex& other, const Slots& slots, size_t threads) {
  const std::vector<uint32_t> wanted(slots.data(), slots.data() + slots.size());
  without_gil([&] { index.append_from(other, wanted, threads_of(threads)); });
}

py::array_t<int64_t> find(const MultiVectorIndex& index, const py::object& ids) {
  const Ids wanted = ids_of(ids);
  const auto count = static_cast<py::ssize_t>(count_of(wanted));
  return to_array(waiting([&] { return index.find(wanted); }), {count});
}

py::array_t<int64_t> lengths(const MultiVectorIndex& index) {
  std::vector<int64_t> all = waiting([&] { return index.lengths(); });
  const auto count = static_cast<py::ssize_t>(all.size());
  return to_array(std::move(all), {count});
}

py::dict bytes_by_part(const MultiVectorIndex& index) {
  const MultiVectorIndex::Bytes bytes = waiting([&] { return index.bytes_by_part(); });
  py::dict parts;
  parts["codes"] = bytes.codes;
  parts["scales"] = bytes.scales;
  parts["centroids"] = bytes.centroids;
  parts["codebook"] = bytes.codebook;
  parts["lists"] = bytes.lists;
  parts["documents"] = bytes.documents;
  parts["ids"] = bytes.ids;
  return parts;
}

}  // namespace

void register_multivector(py::module_& m) {
  py::class_<MultiVectorIndex> index(m, "MultiVectorIndex");
  register_saving(index);
  index
      .def(py::init<uint32_t, const std::string&, uint64_t>(), py::arg("dim"), py::arg("codec"),
           py::arg("seed"))
      .def("add", &add, py::arg("values"), py::arg("offsets"), py::arg("ids"), py::arg("threads"))
      .def(
          "remove",
          [](MultiVectorIndex& index, const py::object& ids) {
            const Ids given = ids_of(ids);
            without_gil([&] { index.remove(given); });
          },
          py::arg("ids"))
      .def("search", &search, py::arg("values"), py::arg("offsets"), py::arg("k"), py::arg("filters"),
           py::arg("candidates"), py::arg("exact"), py::arg("threads"))
      .def("get", &get, py::arg("ids"))
      .def("token_scores", &token_scores, py::arg("query"), py::arg("ids"), py::arg("threads"))
      .def(
          "contains",
          [](const MultiVectorIndex& index, const py::object& id) {
            const Ids one = ids_of(id);
            return waiting([&] { return index.contains(one); });
          },
          py::arg("id"))
      .def("ids",
           [](const MultiVectorIndex& index) { return ids_to_python(waiting([&] { return index.ids(); })); })
      .def("size", [](const MultiVectorIndex& index) { return waiting([&] { return index.size(); }); })
      .def("num_tokens",
           [](const MultiVectorIndex& index) { return waiting([&] { return index.num_tokens(); }); })
      .def("bytes", [](const MultiVectorIndex& index) { return waiting([&] { return index.bytes(); }); })
      .def("bytes_by_part", &bytes_by_part)
      .def("changes", [](const MultiVectorIndex& index) { return waiting([&] { return index.changes(); }); })
      .def("find", &find, py::arg("ids"))
      .def("lengths", &lengths)
      .def(
          "share_training",
          [](MultiVectorIndex& index, const MultiVectorIndex& other) {
            without_gil([&] { index.share_training(other); });
          },
          py::arg("other"))
      .def("append_from", &append_from, py::arg("other"), py::arg("slots"), py::arg("threads"))
      .def("train", &train, py::arg("values"), py::arg("offsets"), py::arg("centroids"),
           py::arg("iterations"), py::arg("threads"), py::arg("steps"))
      .def("grow", &grow, py::arg("values"), py::arg("offsets"), py::arg("centroids"), py::arg("iterations"),
           py::arg("threads"))
      .def("limit", &MultiVectorIndex::limit)
      .def("mean_residual",
           [](const MultiVectorIndex& index) { return waiting([&] { return index.mean_residual(); }); })
      .def("num_centroids",
           [](const MultiVectorIndex& index) { return waiting([&] { return index.num_centroids(); }); });
}

}  // namespace tercet
