// Codebooks as the arrays they are made of.
#include "bindings/arrays.h"
#include "codec/kmeans.h"
#include "core/error.h"

namespace tercet {
namespace {

RowsView float32_rows(const py::array& array) {
  const RowsView view = rows_view(array, "vectors");
  return float_rows(array, view.dim, "vectors");
}

const float* values(const RowsView& rows) { return reinterpret_cast<const float*>(rows.data); }

py::tuple train_codebook_arrays(const py::array& vectors, size_t centroids, int iterations, uint64_t seed,
                                size_t threads) {
  const RowsView rows = float32_rows(vectors);
  const KMeans options{centroids, iterations, seed, threads_of(threads)};
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<uint32_t> offsets;
  without_gil([&] {
    const Codebook book =
        train_codebook(values(rows), rows.rows, rows.stride / sizeof(float), rows.dim, options);
    codes.assign(book.centroids().codes().begin(), book.centroids().codes().end());
    scales = book.centroids().scales();
    offsets = book.offsets();
  });
  const auto size = static_cast<py::ssize_t>(scales.size()), ends = static_cast<py::ssize_t>(offsets.size());
  return py::make_tuple(to_array(std::move(codes), {size, static_cast<py::ssize_t>(rows.dim)}),
                        to_array(std::move(scales), {size}), to_array(std::move(offsets), {ends}));
}

using Bytes = py::array_t<uint8_t, py::array::c_style>;
using Halves = py::array_t<uint16_t, py::array::c_style>;
using Offsets = py::array_t<uint32_t, py::array::c_style>;

py::array_t<uint16_t> assign(const Bytes& codes, const Halves& scales, const Offsets& offsets,
                             const py::array& vectors, size_t given_threads) {
  const size_t threads = threads_of(given_threads);
  require(codes.ndim() == 2 && scales.ndim() == 1 && offsets.ndim() == 1,
          "expected codes[n, dim], scales[n] and offsets[m + 1]");
  const RowsView rows = float_rows(vectors, static_cast<uint32_t>(codes.shape(1)), "vectors");
  AlignedVector<uint8_t> own_codes(codes.data(), codes.data() + codes.size());
  std::vector<uint16_t> own_scales(scales.data(), scales.data() + scales.size());
  std::vector<uint32_t> own_offsets(offsets.data(), offsets.data() + offsets.size());
  std::vector<uint16_t> ids(rows.rows);
  without_gil([&] {
    const Codebook book(Centroids(rows.dim, std::move(own_codes), std::move(own_scales)),
                        std::move(own_offsets));
    book.assign(values(rows), rows.rows, rows.stride / sizeof(float), ids.data(), threads);
  });
  return to_array(std::move(ids), {static_cast<py::ssize_t>(rows.rows)});
}

}  // namespace

void register_codebook(py::module_& m) {
  py::class_<Steps>(m, "Steps")
      .def(py::init<>())
      .def("done", [](const Steps& steps) { return steps.done.load(); })
      .def("total", [](const Steps& steps) { return steps.total.load(); });
  m.def("train_codebook", &train_codebook_arrays, py::arg("vectors"), py::arg("centroids"),
        py::arg("iterations"), py::arg("seed"), py::arg("threads"));
  m.def("assign", &assign, py::arg("codes"), py::arg("scales"), py::arg("offsets"), py::arg("vectors"),
        py::arg("threads"));
}

}  // namespace tercet
