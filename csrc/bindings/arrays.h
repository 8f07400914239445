// numpy arrays <-> views. Python (tercet/arrays.py) has decided dtype and contiguity; here they are only
// checked, because a wrong assumption would read foreign memory.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <exception>
#include <functional>
#include <utility>
#include <vector>

#include "core/types.h"
#include "index/search.h"

namespace tercet {

namespace py = pybind11;

// float32, uint16 (bfloat16 bits) or int8 rows, each contiguous.
RowsView rows_view(const py::array& array, const char* name);

// [n, dim] float32 rows with contiguous elements, of the given dimension.
RowsView float_rows(const py::array& array, uint32_t dim, const char* name);

// int64[n + 1] that rises from 0 to `rows`.
std::vector<size_t> offsets_of(const py::array_t<int64_t>& array, size_t rows, const char* name);

// A list of str, or an array of int64; None is handled by the caller. `name` is what errors call them.
Ids ids_of(const py::object& ids, const char* name = "ids");
py::object ids_to_python(Ids ids);

// A list of filters, each None, a bool array or ids.
Filters filters_of(const py::list& filters);

// (ids[nq, k], scores[nq, k]) with id -1 and score -inf in unfilled places.
py::tuple results_to_python(Results results);

// Runs `f` without the interpreter's lock. The lock is taken back outside of any destructor: when the
// interpreter ends, that throws a daemon thread out, which a destructor turns into abort().
template <class F>
void without_gil(F f) {
  std::exception_ptr error;
  PyThreadState* const state = PyEval_SaveThread();
  try {
    f();
  } catch (...) {
    error = std::current_exception();
  }
  PyEval_RestoreThread(state);
  if (error) std::rethrow_exception(error);
}

// The same for what returns a value: a question to an index, which may wait for a change to end.
template <class F>
auto waiting(F f) {
  decltype(f()) answer{};
  without_gil([&] { answer = f(); });
  return answer;
}

// For long work without the interpreter's lock: called now and then, it lets Python's signal handlers run,
// and throws what they raise, as KeyboardInterrupt. They run in the main thread alone; in others, and without
// taking the lock, it does nothing.
std::function<void()> signal_check();

// The number of threads of a call, which must not change while it runs (the environment may).
size_t threads_of(size_t given);

// Hands a vector's storage to numpy.
template <class T>
py::array_t<T> to_array(std::vector<T> values, std::vector<py::ssize_t> shape) {
  auto* owner = new std::vector<T>(std::move(values));
  py::capsule base(owner, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(std::move(shape), owner->data(), base);
}

// Throws Error for what is no metric.
Metric metric_of(const std::string& name);

}  // namespace tercet
