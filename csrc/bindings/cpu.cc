// What this machine can do, and how fast it can at most.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "cpu/features.h"
#include "kernels/kernels.h"
#include "kernels/selfcheck.h"

namespace tercet {
namespace {

namespace py = pybind11;

Isa isa_of(const std::string& name) {
  for (Isa isa : supported_isas()) {
    if (name == isa_name(isa)) return isa;
  }
  fail(ErrorKind::value, "isa: this machine does not support \"", name, "\"");
}

Format format_named(const std::string& name) {
  for (int i = 0; i < kFormats; ++i) {
    if (name == kFormatNames[i]) return static_cast<Format>(i);
  }
  fail(ErrorKind::value, "format: \"", name, "\" is none of those that cpu_info() lists");
}

template <class F>
double seconds(F run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

py::dict cpu_info() {
  py::dict names, info;
  for (int i = 0; i < kFormats; ++i) names[kFormatNames[i]] = kernels().panels[i].name;
  names["product"] = isa_name(kernels().isa);
  std::vector<std::string> supported;
  for (Isa isa : supported_isas()) supported.emplace_back(isa_name(isa));
  info["isa"] = isa_name(kernels().isa);
  info["supported"] = supported;
  info["kernels"] = names;
  info["dropped"] = checked_kernels().dropped();
  info["threads"] = default_threads();
  return info;
}

// Multiply-adds per second of the instruction that a format's kernels are made of, on registers.
double peak_macs(const std::string& format, const std::string& isa, size_t rounds) {
  const PanelKernels& kernel = kernels_for(isa_of(isa)).panel(format_named(format));
  py::gil_scoped_release release;
  size_t macs = 0;
  const double time = seconds([&] { macs = kernel.peak(rounds); });
  return static_cast<double>(macs) / time;
}

// Bytes per second of reading a buffer `repeat` times.
double read_bandwidth(const py::array_t<uint8_t, py::array::c_style>& buffer, const std::string& isa,
                      size_t repeat) {
  const Kernels& table = kernels_for(isa_of(isa));
  const uint8_t* data = buffer.data();
  const auto bytes = static_cast<size_t>(buffer.size());
  py::gil_scoped_release release;
  volatile uint64_t sink = 0;
  const double time = seconds([&] {
    for (size_t i = 0; i < repeat; ++i) sink = table.read(data, bytes);
  });
  (void)sink;
  return static_cast<double>(bytes * repeat) / time;
}

// The pair kernels of a level, for tests and for a graph written in Python: float32 rows, or bfloat16 bits.
double pair_dot(const py::array& a, const py::array& b, const std::string& isa) {
  const Kernels& table = kernels_for(isa_of(isa));
  require(a.ndim() == 1 && b.ndim() == 1 && a.shape(0) == b.shape(0), "expected two vectors of one length");
  require(a.strides(0) == a.itemsize() && b.strides(0) == b.itemsize(), "expected contiguous vectors");
  const auto dim = static_cast<size_t>(a.shape(0));
  if (py::isinstance<py::array_t<float>>(a) && py::isinstance<py::array_t<float>>(b)) {
    return table.pair_float32(static_cast<const float*>(a.data()), static_cast<const float*>(b.data()), dim);
  }
  if (py::isinstance<py::array_t<uint16_t>>(a) && py::isinstance<py::array_t<uint16_t>>(b)) {
    return table.pair_bfloat16(static_cast<const uint16_t*>(a.data()), static_cast<const uint16_t*>(b.data()),
                               dim);
  }
  if (py::isinstance<py::array_t<int8_t>>(a) && py::isinstance<py::array_t<uint8_t>>(b)) {
    return table.pair_int8(static_cast<const int8_t*>(a.data()), static_cast<const uint8_t*>(b.data()), dim);
  }
  fail(ErrorKind::type, "expected two float32, two uint16 (bfloat16), or an int8 and a uint8 vector");
}

}  // namespace

void register_cpu(py::module_& m) {
  m.def("cpu_info", &cpu_info);
  m.def("default_threads", &default_threads);
  m.def("peak_macs", &peak_macs, py::arg("format"), py::arg("isa"), py::arg("rounds"));
  m.def("read_bandwidth", &read_bandwidth, py::arg("buffer"), py::arg("isa"), py::arg("repeat"));
  m.def("pair_dot", &pair_dot, py::arg("a"), py::arg("b"), py::arg("isa"));
}

}  // namespace tercet
