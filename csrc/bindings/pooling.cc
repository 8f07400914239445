#include "codec/pooling.h"

#include "bindings/arrays.h"

namespace tercet {
namespace {

py::tuple pool(const py::array& values, const py::array_t<int64_t>& given_offsets, size_t factor, size_t kept,
               size_t given_threads, const std::string& name) {
  const size_t threads = threads_of(given_threads);
  const RowsView any = rows_view(values, name.c_str());
  const RowsView rows = float_rows(values, any.dim, name.c_str());
  const std::vector<size_t> offsets = offsets_of(given_offsets, rows.rows, name.c_str());
  PooledTokens pooled;
  without_gil([&] { pooled = pool_tokens(rows, offsets, factor, kept, threads, name.c_str()); });
  const auto vectors = static_cast<py::ssize_t>(pooled.offsets.back());
  std::vector<int64_t> ends(pooled.offsets.begin(), pooled.offsets.end());
  const auto texts = static_cast<py::ssize_t>(ends.size());
  return py::make_tuple(to_array(std::move(pooled.values), {vectors, static_cast<py::ssize_t>(rows.dim)}),
                        to_array(std::move(ends), {texts}));
}

}  // namespace

void register_pooling(py::module_& m) {
  m.def("pool_tokens", &pool, py::arg("values"), py::arg("offsets"), py::arg("factor"), py::arg("protected"),
        py::arg("threads"), py::arg("name"));
}

}  // namespace tercet
