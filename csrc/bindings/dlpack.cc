// Tensors from other libraries without a copy. numpy.from_dlpack refuses bfloat16, for which it has no dtype;
// here such a tensor becomes its bits in uint16. The structures are DLPack's (dmlc/dlpack, version 1.0).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "core/error.h"

namespace tercet {
namespace {

namespace py = pybind11;

struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: C order
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};

// What numpy calls an element, by DLPack's code: 0 int, 1 unsigned, 2 float, 4 bfloat, 6 bool.
std::string dtype_name(const DLDataType& type, bool* bfloat16) {
  *bfloat16 = type.code == 4 && type.bits == 16;
  const std::string bits = std::to_string(type.bits);
  if (type.lanes == 1) {
    if (*bfloat16) return "uint16";
    if (type.code == 0) return "int" + bits;
    if (type.code == 1) return "uint" + bits;
    if (type.code == 2 && type.bits >= 16) return "float" + bits;
    if (type.code == 6) return "bool";
  }
  fail(ErrorKind::type, "a tensor of DLPack type code ", int{type.code}, ", ", bits, " bits and ", type.lanes,
       " lanes is not supported");
}

py::tuple from_dlpack(const py::capsule& capsule) {
  require(capsule.name() && std::string(capsule.name()) == "dltensor", "expected an unused DLPack capsule");
  auto* managed = capsule.get_pointer<DLManagedTensor>();
  const DLTensor& tensor = managed->tensor;
  bool bfloat16 = false;
  const py::dtype dtype(dtype_name(tensor.dtype, &bfloat16));
  std::vector<py::ssize_t> shape(tensor.shape, tensor.shape + tensor.ndim);
  std::vector<py::ssize_t> strides(shape.size());
  py::ssize_t step = dtype.itemsize();
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = tensor.strides ? tensor.strides[i] * dtype.itemsize() : step;
    step *= shape[i];
  }
  // Taken over: the producer's capsule must not free it any more, the array's base does.
  PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  py::capsule owner(managed, [](void* p) {
    auto* m = static_cast<DLManagedTensor*>(p);
    if (m->deleter) m->deleter(m);
  });
  void* data = static_cast<uint8_t*>(tensor.data) + tensor.byte_offset;
  return py::make_tuple(py::array(dtype, shape, strides, data, owner), bfloat16);
}

}  // namespace

void register_dlpack(py::module_& m) { m.def("from_dlpack", &from_dlpack, py::arg("capsule")); }

}  // namespace tercet
