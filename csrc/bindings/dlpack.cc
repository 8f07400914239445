// Tensors from other libraries without a copy. numpy.from_dlpack refuses bfloat16, for which it has no dtype;
// here such a tensor becomes its bits in uint16. The structures are DLPack's (dmlc/dlpack, version 1.0).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

// Memory of a CUDA device on its way to another library, with what keeps it.
struct Exported {
  DLManagedTensor managed;
  std::vector<int64_t> shape;
  PyObject* owner;
};

// Called by whoever took the tensor, from any thread, or by the capsule if nobody did: perhaps while the
// interpreter ends, when Python must not be entered any more. Then the memory goes with the process.
void give_back(DLManagedTensor* managed) {
  if (!Py_IsInitialized()) return;
  auto* const exported = static_cast<Exported*>(managed->context);
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(exported->owner);
  PyGILState_Release(state);
  delete exported;
}

void discard(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // taken
  auto* const managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  managed->deleter(managed);
}

// `owner` lives until whoever takes the capsule is done with it.
py::object to_dlpack(uintptr_t pointer, std::vector<int64_t> shape, uint8_t code, uint8_t bits,
                     int32_t device, py::object owner) {
  constexpr int32_t kCuda = 2;
  auto exported = std::make_unique<Exported>();
  exported->shape = std::move(shape);
  DLTensor& tensor = exported->managed.tensor;
  tensor = {reinterpret_cast<void*>(pointer),
            {kCuda, device},
            static_cast<int32_t>(exported->shape.size()),
            {code, bits, 1},
            exported->shape.data(),
            nullptr,
            0};
  exported->managed.context = exported.get();
  exported->managed.deleter = give_back;
  auto capsule = py::reinterpret_steal<py::object>(PyCapsule_New(&exported->managed, "dltensor", discard));
  if (!capsule) throw py::error_already_set();
  exported->owner = owner.release().ptr();
  exported.release();  // the capsule's
  return capsule;
}

}  // namespace

void register_dlpack(py::module_& m) {
  m.def("from_dlpack", &from_dlpack, py::arg("capsule"));
  m.def("to_dlpack", &to_dlpack, py::arg("pointer"), py::arg("shape"), py::arg("code"), py::arg("bits"),
        py::arg("device"), py::arg("owner"));
}

}  // namespace tercet
