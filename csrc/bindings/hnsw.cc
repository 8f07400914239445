#include "index/hnsw/hnsw.h"

#include "bindings/arrays.h"
#include "bindings/saving.h"

namespace tercet {
namespace {

py::object add(HNSWIndex& index, const py::array& vectors, const py::object& ids, size_t threads) {
  const RowsView rows = float_rows(vectors, index.dim(), "vectors");
  std::optional<Ids> wanted;
  if (!ids.is_none()) wanted = ids_of(ids);
  const bool given = wanted.has_value();
  Ids used;
  const std::function<void()> check = signal_check();
  without_gil([&] {
    used = index.add(reinterpret_cast<const float*>(rows.data), rows.stride / sizeof(float), rows.rows,
                     std::move(wanted), threads_of(threads), check);
  });
  return given ? ids : ids_to_python(std::move(used));
}

py::tuple search(const HNSWIndex& index, const py::array_t<float, py::array::c_style>& queries, size_t k,
                 const py::list& filters, size_t ef, bool exact, size_t threads) {
  const RowsView rows = float_rows(queries, index.dim(), "queries");
  const Filters allowed = filters_of(filters);
  Results results;
  without_gil(
      [&] { results = index.search(queries.data(), rows.rows, k, allowed, ef, exact, threads_of(threads)); });
  return results_to_python(std::move(results));
}

py::array_t<float> get(const HNSWIndex& index, const py::object& ids) {
  const Ids wanted = ids_of(ids);
  std::vector<float> rows;
  without_gil([&] { rows = index.get(wanted); });
  const auto n = static_cast<py::ssize_t>(rows.size() / index.dim());
  return to_array(std::move(rows), {n, static_cast<py::ssize_t>(index.dim())});
}

}  // namespace

void register_hnsw(py::module_& m) {
  py::class_<HNSWIndex> index(m, "HNSWIndex");
  register_saving(index);
  index
      .def(py::init([](uint32_t dim, const std::string& metric, const std::string& codec, uint32_t degree,
                       size_t ef_construction, bool rescore) {
             return std::make_unique<HNSWIndex>(dim, metric_of(metric), codec,
                                                HNSWOptions{degree, ef_construction}, rescore);
           }),
           py::arg("dim"), py::arg("metric"), py::arg("codec"), py::arg("m"), py::arg("ef_construction"),
           py::arg("rescore"))
      .def("add", &add, py::arg("vectors"), py::arg("ids"), py::arg("threads"))
      .def(
          "remove",
          [](HNSWIndex& index, const py::object& ids) {
            const Ids given = ids_of(ids);
            without_gil([&] { index.remove(given); });
          },
          py::arg("ids"))
      .def("search", &search, py::arg("queries"), py::arg("k"), py::arg("filters"), py::arg("ef"),
           py::arg("exact"), py::arg("threads"))
      .def(
          "search_held_out",
          [](const HNSWIndex& index, const py::object& ids, size_t k, size_t ef, size_t threads) {
            const Ids wanted = ids_of(ids);
            Results results;
            without_gil([&] { results = index.search_held_out(wanted, k, ef, threads_of(threads)); });
            return results_to_python(std::move(results));
          },
          py::arg("ids"), py::arg("k"), py::arg("ef"), py::arg("threads"))
      .def("get", &get, py::arg("ids"))
      .def(
          "contains",
          [](const HNSWIndex& index, const py::object& id) {
            const Ids one = ids_of(id);
            return waiting([&] { return index.contains(one); });
          },
          py::arg("id"))
      .def("ids", [](const HNSWIndex& index) { return ids_to_python(waiting([&] { return index.ids(); })); })
      .def("size", [](const HNSWIndex& index) { return waiting([&] { return index.size(); }); })
      .def("codec", [](const HNSWIndex& index) { return waiting([&] { return index.codec(); }); })
      .def("changes", &HNSWIndex::changes)
      .def("removed", [](const HNSWIndex& index) { return waiting([&] { return index.removed(); }); })
      .def("mean_degree", [](const HNSWIndex& index) { return waiting([&] { return index.mean_degree(); }); })
      .def("bytes", [](const HNSWIndex& index) { return waiting([&] { return index.bytes(); }); });
}

}  // namespace tercet
