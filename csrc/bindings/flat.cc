#include "index/flat.h"

#include "bindings/arrays.h"
#include "core/error.h"

namespace tercet {
namespace {

Metric metric_of(const std::string& name) {
  if (name == "dot") return Metric::dot;
  if (name == "cosine") return Metric::cosine;
  if (name == "l2") return Metric::l2;
  fail(ErrorKind::value, "metric: expected \"dot\", \"cosine\" or \"l2\", got \"", name, "\"");
}

py::object add(FlatIndex& index, const py::array& vectors, const py::object& ids, size_t threads) {
  const RowsView rows = float_rows(vectors, index.dim(), "vectors");
  const bool given = !ids.is_none();
  const Ids wanted = given ? ids_of(ids) : Ids();
  Ids used;
  {
    py::gil_scoped_release release;
    used = index.add(reinterpret_cast<const float*>(rows.data), rows.stride / sizeof(float), rows.rows,
                     given ? &wanted : nullptr, threads);
  }
  return ids_to_python(used);
}

py::tuple search(const FlatIndex& index, const py::array_t<float, py::array::c_style>& queries, size_t k,
                 const py::list& filters, bool exact, size_t threads) {
  const RowsView rows = float_rows(queries, index.dim(), "queries");
  const Filters allowed = filters_of(filters);
  Results results;
  {
    py::gil_scoped_release release;
    results = index.search(queries.data(), rows.rows, k, allowed, exact, threads);
  }
  return results_to_python(std::move(results));
}

py::array_t<float> get(const FlatIndex& index, const py::object& ids) {
  std::vector<float> rows = index.get(ids_of(ids));
  const auto n = static_cast<py::ssize_t>(rows.size() / index.dim());
  return to_array(std::move(rows), {n, static_cast<py::ssize_t>(index.dim())});
}

py::dict state(const FlatIndex& index) {
  FlatIndex::State state = index.state();
  py::dict out;
  out["ids"] = ids_to_python(state.ids);
  const auto codes = static_cast<py::ssize_t>(state.codes.size()),
             scales = static_cast<py::ssize_t>(state.scales.size());
  out["codes"] = to_array(std::move(state.codes), {codes});
  out["next_id"] = state.next_id;
  out["scales"] = to_array(std::move(state.scales), {scales});
  if (!state.originals.empty()) {
    const auto originals = static_cast<py::ssize_t>(state.originals.size());
    out["originals"] = to_array(std::move(state.originals), {originals});
  }
  return out;
}

void restore(FlatIndex& index, const py::object& ids, const py::array_t<uint8_t, py::array::c_style>& codes,
             const py::array_t<uint16_t, py::array::c_style>& scales, int64_t next_id,
             const py::array_t<float, py::array::c_style>& originals) {
  index.restore({ids_of(ids),
                 {codes.data(), codes.data() + codes.size()},
                 {scales.data(), scales.data() + scales.size()},
                 next_id,
                 {originals.data(), originals.data() + originals.size()}});
}

}  // namespace

void register_flat(py::module_& m) {
  py::class_<FlatIndex>(m, "FlatIndex")
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
            py::gil_scoped_release release;
            index.remove(given);
          },
          py::arg("ids"))
      .def("search", &search, py::arg("queries"), py::arg("k"), py::arg("filters"), py::arg("exact"),
           py::arg("threads"))
      .def("get", &get, py::arg("ids"))
      .def(
          "contains", [](const FlatIndex& index, const py::object& id) { return index.contains(ids_of(id)); },
          py::arg("id"))
      .def("ids", [](const FlatIndex& index) { return ids_to_python(index.ids()); })
      .def("size", &FlatIndex::size)
      .def("bytes", &FlatIndex::bytes)
      .def("rescored",
           [](const FlatIndex& index) { return py::make_tuple(index.searched(), index.rescored()); })
      .def("state", &state)
      .def("restore", &restore, py::arg("ids"), py::arg("codes"), py::arg("scales"), py::arg("next_id"),
           py::arg("originals"));
}

}  // namespace tercet
