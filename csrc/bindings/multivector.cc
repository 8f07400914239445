#include "index/multivector.h"

#include "bindings/arrays.h"

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
                 size_t k, const py::list& filters, size_t threads) {
  const TokenRows queries = token_rows(values, offsets, index.dim(), "queries");
  const Filters allowed = filters_of(filters);
  Results results;
  without_gil([&] { results = index.search(queries, k, allowed, threads_of(threads)); });
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

py::dict state(const MultiVectorIndex& index) {
  MultiVectorIndex::State state;
  without_gil([&] { state = index.state(); });
  const auto codes = static_cast<py::ssize_t>(state.codes.size()),
             scales = static_cast<py::ssize_t>(state.scales.size());
  const auto offsets = static_cast<py::ssize_t>(state.offsets.size());
  py::dict out;
  const auto put = [&](const char* name, auto&& values) {
    const auto n = static_cast<py::ssize_t>(values.size());
    out[name] = to_array(std::move(values), {n});
  };
  if (!state.codebook_offsets.empty()) {
    put("centroids", state.centroids);
    put("codebook_codes", state.codebook_codes);
    put("codebook_scales", state.codebook_scales);
    put("codebook_offsets", state.codebook_offsets);
    put("codec_parameters", state.codec_parameters);
  }
  out["ids"] = ids_to_python(state.ids);
  out["offsets"] = to_array(std::move(state.offsets), {offsets});
  out["codes"] = to_array(std::move(state.codes), {codes});
  out["next_id"] = state.next_id;
  out["scales"] = to_array(std::move(state.scales), {scales});
  return out;
}

template <class T>
std::vector<T> values_of(const py::array_t<T, py::array::c_style>& array) {
  return {array.data(), array.data() + array.size()};
}

void restore(MultiVectorIndex& index, const py::object& ids,
             const py::array_t<int64_t, py::array::c_style>& offsets,
             const py::array_t<uint8_t, py::array::c_style>& codes,
             const py::array_t<uint16_t, py::array::c_style>& scales, int64_t next_id,
             const py::array_t<uint16_t, py::array::c_style>& centroids,
             const py::array_t<uint8_t, py::array::c_style>& codebook_codes,
             const py::array_t<uint16_t, py::array::c_style>& codebook_scales,
             const py::array_t<uint32_t, py::array::c_style>& codebook_offsets,
             const py::array_t<float, py::array::c_style>& codec_parameters) {
  index.restore({ids_of(ids), values_of(offsets), values_of(codes), values_of(scales), next_id,
                 values_of(centroids), values_of(codebook_codes), values_of(codebook_scales),
                 values_of(codebook_offsets), values_of(codec_parameters)});
}

void train(MultiVectorIndex& index, const py::array& values, const py::array_t<int64_t>& offsets,
           size_t centroids, int iterations, size_t threads) {
  const TokenRows tokens = token_rows(values, offsets, index.dim(), "vectors");
  without_gil([&] { index.train(tokens, centroids, iterations, threads_of(threads)); });
}

}  // namespace

void register_multivector(py::module_& m) {
  py::class_<MultiVectorIndex>(m, "MultiVectorIndex")
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
           py::arg("threads"))
      .def("get", &get, py::arg("ids"))
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
      .def("state", &state)
      .def("restore", &restore, py::arg("ids"), py::arg("offsets"), py::arg("codes"), py::arg("scales"),
           py::arg("next_id"), py::arg("centroids"), py::arg("codebook_codes"), py::arg("codebook_scales"),
           py::arg("codebook_offsets"), py::arg("codec_parameters"))
      .def("train", &train, py::arg("values"), py::arg("offsets"), py::arg("centroids"),
           py::arg("iterations"), py::arg("threads"))
      .def("num_centroids",
           [](const MultiVectorIndex& index) { return waiting([&] { return index.num_centroids(); }); });
}

}  // namespace tercet
