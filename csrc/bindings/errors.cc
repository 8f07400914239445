// The one place where native errors become Python's.
#include <pybind11/pybind11.h>

#include <system_error>

#include "core/error.h"

namespace tercet {

void register_errors(pybind11::module_&) {
  pybind11::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      PyObject* type = e.kind() == ErrorKind::type     ? PyExc_TypeError
                       : e.kind() == ErrorKind::lookup ? PyExc_KeyError
                                                       : PyExc_ValueError;
      PyErr_SetString(type, e.what());
    } catch (const std::system_error& e) {  // of files; Python makes a subclass of OSError by the number
      const auto arguments = pybind11::make_tuple(e.code().value(), e.what());
      PyErr_SetObject(PyExc_OSError, arguments.ptr());
    }
  });
}

}  // namespace tercet
