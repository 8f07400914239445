#include "storage/container.h"

#include <pybind11/stl.h>

#include <cstring>

#include "bindings/arrays.h"
#include "core/aligned.h"
#include "storage/crc32c.h"
#include "storage/layout.h"

namespace tercet {
namespace {

std::shared_ptr<Container> open(int file, const std::string& name, bool mmap) {
  return waiting([&] { return std::make_shared<Container>(mmap ? map_file(file) : read_file(file), name); });
}

std::shared_ptr<Container> from_bytes(const py::bytes& data, const std::string& name) {
  const std::string_view view = data;
  const auto memory = std::make_shared<AlignedVector<uint8_t>>(view.size());
  if (!view.empty()) std::memcpy(memory->data(), view.data(), view.size());
  return std::make_shared<Container>(FileBytes{{memory->data(), memory->size()}, memory}, name);
}

py::bytes generation(const Container& file) {
  const auto bytes = file.generation();
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

py::bytes settings(const Container& file) {
  std::span<const uint8_t> text;
  file.blame([&] { text = file.read<uint8_t>("settings"); });
  return py::bytes(reinterpret_cast<const char*>(text.data()), text.size());
}

}  // namespace

void register_container(py::module_& m) {
  py::class_<Container, std::shared_ptr<Container>>(m, "Container")
      .def(py::init(&open), py::arg("file"), py::arg("name"), py::arg("mmap"))
      .def_static("from_bytes", &from_bytes, py::arg("data"), py::arg("name"))
      .def("settings", &settings)
      .def("generation", &generation)
      .def("version", [](const Container&) { return int{kFormatVersion}; })
      .def("sections", &Container::sections)
      .def("verify", [](const Container& file) { without_gil([&] { file.verify(); }); });
  m.def(
      "crc32c",
      [](const py::bytes& data) {
        const std::string_view view = data;
        return crc32c(view.data(), view.size());
      },
      py::arg("data"));
}

}  // namespace tercet
