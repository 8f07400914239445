#include "index/flat.h"

#include "bindings/arrays.h"
#include "bindings/saving.h"
#include "core/error.h"

namespace tercet {
namespace {

py::object add(FlatIndex& index, const py::array& vectors, const py::object& ids, size_t threads) {
  const RowsView rows = float_rows(vectors, index.dim(), "vectors");
  std::optional<Ids> wanted;
  if (!ids.is_none()) wanted = ids_of(ids);
  const bool given = wanted.has_value();
  Ids used;
  without_gil([&] {
    used = index.add(reinterpret_cast<const float*>(rows.data), rows.stride / sizeof(float), rows.rows,
                     std::move(wanted), threads_of(threads));
  });
  return given ? ids : ids_to_python(std::move(used));
}

py::tuple search(const FlatIndex& index, const py::array_t<float, py::array::c_style>& queries, size_t k,
                 const py::list& filters, bool exact, size_t threads) {
  const RowsView rows = float_rows(queries, index.dim(), "queries");
  const Filters allowed = filters_of(filters);
  Results results;
  without_gil(
      [&] { results = index.search(queries.data(), rows.rows, k, allowed, exact, threads_of(threads)); });
  return results_to_python(std::move(results));
}

py::array_t<float> get(const FlatIndex& index, const py::object& ids) {
  const Ids wanted = ids_of(ids);
  std::vector<float> rows;
  without_gil([&] { rows = index.get(wanted); });
  const auto n = static_cast<py::ssize_t>(rows.size() / index.dim());
  return to_array(std::move(rows), {n, static_cast<py::ssize_t>(index.dim())});
}

}  // namespace

void register_flat(py::module_& m) {
  py::class_<FlatIndex> index(m, "FlatIndex");
  register_saving(index);
  index
      .def(py::init([](uint32_t dim, const std::string& metric, const std::string& codec, uint64_t seed,
                       bool rescore) {
             return std::make_unique<FlatIndex>(dim, metric_of(metric), codec, seed, rescore);
           }),
           py::arg("dim"), py::arg("metric"), py::arg("codec"), py::arg("seed"), py::arg("rescore"))
      .def("add", &add, py::arg("vectors"), py::arg("ids"), py::arg("threads"))
      .def(
          "remove",
          [](FlatIndex& index, const py::object& ids) {
            const Ids given = ids_of(ids);
            without_gil([&] { index.remove(given); });
          },
          py::arg("ids"))
      .def("search", &search, py::arg("queries"), py::arg("k"), py::arg("filters"), py::arg("exact"),
           py::arg("threads"))
      .def("get", &get, py::arg("ids"))
      .def(
          "contains",
          [](const FlatIndex& index, const py::object& id) {
            const Ids one = ids_of(id);
            return waiting([&] { return index.contains(one); });
          },
          py::arg("id"))
      .def("ids", [](const FlatIndex& index) { return ids_to_python(waiting([&] { return index.ids(); })); })
      .def("size", [](const FlatIndex& index) { return waiting([&] { return index.size(); }); })
      .def("bytes", [](const FlatIndex& index) { return waiting([&] { return index.bytes(); }); })
      .def("limit", &FlatIndex::limit)
      .def("rescored",
           [](const FlatIndex& index) { return py::make_tuple(index.searched(), index.rescored()); });
}

}  // namespace tercet
