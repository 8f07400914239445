#include "bindings/arrays.h"

#include <pybind11/stl.h>

#include <chrono>

#include "core/error.h"
#include "core/parallel.h"

namespace tercet {
namespace {

Format format_of(const py::array& array, const char* name) {
  if (py::isinstance<py::array_t<float>>(array)) return Format::float32;
  if (py::isinstance<py::array_t<uint16_t>>(array)) return Format::bfloat16;
  if (py::isinstance<py::array_t<int8_t>>(array)) return Format::int8;
  fail(ErrorKind::type, name, ": expected float32, uint16 (bfloat16) or int8, got ",
       py::str(array.dtype()).cast<std::string>());
}

}  // namespace

std::function<void()> signal_check() {
  const py::module_ threading = py::module_::import("threading");
  if (!threading.attr("current_thread")().is(threading.attr("main_thread")())) return {};
  // Not each time: the lock may have to be waited for.
  using Clock = std::chrono::steady_clock;
  return [next = Clock::now() + std::chrono::milliseconds(50)]() mutable {
    if (Clock::now() < next) return;
    const py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    next = Clock::now() + std::chrono::milliseconds(50);
  };
}

size_t threads_of(size_t given) { return given ? given : default_threads(); }

RowsView rows_view(const py::array& array, const char* name) {
  RowsView view;
  view.format = format_of(array, name);
  require(array.ndim() == 2 && array.shape(1) >= 1, name, ": expected shape [n, dim]");
  const auto row_bytes = array.shape(1) * array.itemsize();
  // numpy gives an array without elements any strides
  const bool rows_apart = array.shape(0) <= 1 || array.strides(0) >= row_bytes;
  require(array.size() == 0 || (array.strides(1) == array.itemsize() && rows_apart), name,
          ": expected contiguous rows");
  view.data = static_cast<const uint8_t*>(array.data());
  view.rows = static_cast<size_t>(array.shape(0));
  view.stride = static_cast<size_t>(array.shape(0) > 1 ? array.strides(0) : row_bytes);
  view.dim = static_cast<uint32_t>(array.shape(1));
  return view;
}

RowsView float_rows(const py::array& array, uint32_t dim, const char* name) {
  const RowsView view = rows_view(array, name);
  if (view.format != Format::float32) fail(ErrorKind::type, name, ": expected float32");
  require(view.dim == dim, name, ": expected ", dim, " dimensions, got ", view.dim);
  require(view.stride % sizeof(float) == 0, name, ": expected rows aligned to float32");
  return view;
}

std::vector<size_t> offsets_of(const py::array_t<int64_t>& array, size_t rows, const char* name) {
  require(array.ndim() == 1 && array.size() >= 1, name, ": expected offsets int64[n + 1]");
  const auto at = array.unchecked<1>();
  std::vector<size_t> offsets(static_cast<size_t>(array.size()));
  int64_t previous = 0;
  for (py::ssize_t i = 0; i < array.size(); ++i) {
    require(at(i) >= previous && (i > 0 || at(i) == 0), name, ": offsets must rise from 0");
    previous = at(i);
    offsets[static_cast<size_t>(i)] = static_cast<size_t>(previous);
  }
  require(offsets.back() == rows, name, ": offsets end at ", offsets.back(), ", expected ", rows);
  return offsets;
}

Ids ids_of(const py::object& ids, const char* name) {
  if (py::isinstance<py::array>(ids)) {
    const auto array = py::array_t<int64_t, py::array::c_style>::ensure(ids);
    if (!array) {  // ensure() has cleared the Python error
      fail(ErrorKind::type, name, ": expected integers that int64 can hold, got an array of ",
           py::str(ids.attr("dtype")).cast<std::string>());
    }
    return IntIds(array.data(), array.data() + array.size());
  }
  try {
    return ids.cast<StringIds>();
  } catch (const py::cast_error&) {
    fail(ErrorKind::value, name, ": expected strings that UTF-8 can hold (no lone surrogates)");
  }
}

py::object ids_to_python(Ids ids) {
  if (auto* ints = std::get_if<IntIds>(&ids)) {
    const auto size = static_cast<py::ssize_t>(ints->size());
    return to_array(std::move(*ints), {size});
  }
  return py::cast(std::get<StringIds>(ids));
}

Filters filters_of(const py::list& filters) {
  Filters out;
  for (const py::handle filter : filters) {
    if (filter.is_none()) {
      out.emplace_back(std::monostate{});
    } else if (py::isinstance<py::array_t<bool>>(filter)) {
      const auto mask = py::reinterpret_borrow<py::array_t<bool>>(filter);
      require(mask.ndim() == 1 && (mask.size() <= 1 || mask.strides(0) == 1),
              "filter: expected a mask bool[n]");
      out.emplace_back(Mask{reinterpret_cast<const uint8_t*>(mask.data()), static_cast<size_t>(mask.size())});
    } else if (py::isinstance<py::tuple>(filter)) {
      const auto [bits, size] = py::cast<std::pair<py::array_t<uint8_t>, size_t>>(filter);
      require(bits.ndim() == 1 && static_cast<size_t>(bits.size()) == (size + 7) / 8 &&
                  (bits.size() <= 1 || bits.strides(0) == 1),
              "filter: expected ", (size + 7) / 8, " bytes for ", size, " bits, got ", bits.size());
      out.emplace_back(Mask{bits.data(), size, true});
    } else {
      out.emplace_back(ids_of(py::reinterpret_borrow<py::object>(filter), "filter"));
    }
  }
  return out;
}

py::tuple results_to_python(Results results) {
  const auto nq = static_cast<py::ssize_t>(results.filled.size()), k = static_cast<py::ssize_t>(results.k);
  py::object ids;
  if (auto* ints = std::get_if<IntIds>(&results.ids)) {
    for (size_t q = 0; q < results.filled.size(); ++q) {
      for (size_t i = results.filled[q]; i < results.k; ++i) (*ints)[q * results.k + i] = -1;
    }
    ids = to_array(std::move(*ints), {nq, k});
  } else {
    const auto& strings = std::get<StringIds>(results.ids);
    py::array array(py::dtype("O"), std::vector<py::ssize_t>{nq, k});
    auto* objects = static_cast<PyObject**>(array.mutable_data());
    for (size_t q = 0; q < results.filled.size(); ++q) {
      for (size_t i = 0; i < results.k; ++i) {
        const size_t at = q * results.k + i;
        py::object id = i < results.filled[q] ? py::object(py::str(strings[at])) : py::object(py::int_(-1));
        Py_XDECREF(objects[at]);
        objects[at] = id.release().ptr();
      }
    }
    ids = std::move(array);
  }
  return py::make_tuple(ids, to_array(std::move(results.scores), {nq, k}));
}

Metric metric_of(const std::string& name) {
  if (name == "dot") return Metric::dot;
  if (name == "cosine") return Metric::cosine;
  if (name == "l2") return Metric::l2;
  fail(ErrorKind::value, "metric: expected \"dot\", \"cosine\" or \"l2\", got \"", name, "\"");
}

}  // namespace tercet
