// The native module: a list of what is registered. Everything that releases the GIL has turned its arguments
// into plain C++ values before, so no reference count is touched without it.
#include <pybind11/pybind11.h>

#include "kernels/kernels.h"

namespace tercet {
void register_errors(pybind11::module_& m);
void register_cpu(pybind11::module_& m);
void register_dlpack(pybind11::module_& m);
void register_arrow(pybind11::module_& m);
void register_container(pybind11::module_& m);
void register_codebook(pybind11::module_& m);
void register_scoring(pybind11::module_& m);
void register_flat(pybind11::module_& m);
void register_hnsw(pybind11::module_& m);
void register_multivector(pybind11::module_& m);
void register_pooling(pybind11::module_& m);
}  // namespace tercet

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  tercet::kernels();  // an unusable TERCET_ISA fails the import, not the first search
  m.attr("__version__") = TERCET_VERSION;
  tercet::register_errors(m);
  tercet::register_cpu(m);
  tercet::register_dlpack(m);
  tercet::register_arrow(m);
  tercet::register_container(m);
  tercet::register_codebook(m);
  tercet::register_scoring(m);
  tercet::register_flat(m);
  tercet::register_hnsw(m);
  tercet::register_multivector(m);
  tercet::register_pooling(m);
}
