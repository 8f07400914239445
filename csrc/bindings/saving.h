// Saving and opening, the same for every index.
#pragma once
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "storage/container.h"
#include "storage/writer.h"

namespace tercet {

// Runs a save of an index with its settings, a JSON text, as the first section.
template <class Index, class Write>
void save_with(const Index& index, const std::string& settings, Write write) {
  without_gil([&] {
    index.save([&](const Sections& state) {
      Sections all;
      all.view("settings", reinterpret_cast<const uint8_t*>(settings.data()), settings.size());
      for (const Section& section : state.all()) all.add(section);
      write(all);
    });
  });
}

// Copies of some of the arrays that an index saves, by name: for who puts them elsewhere, as on a device.
template <class Index>
py::dict saved_arrays(const Index& index, const std::vector<std::string>& names) {
  struct Copy {
    std::string name;
    Element element;
    std::vector<py::ssize_t> shape;
    std::vector<uint8_t> bytes;
  };
  std::vector<Copy> copies;
  without_gil([&] {
    index.save([&](const Sections& state) {
      for (const Section& section : state.all()) {
        if (std::find(names.begin(), names.end(), section.name) == names.end()) continue;
        Copy& copy = copies.emplace_back(
            Copy{section.name, section.element, {section.shape.begin(), section.shape.end()}, {}});
        copy.bytes.reserve(section.bytes());
        for (const auto& piece : section.pieces)
          copy.bytes.insert(copy.bytes.end(), piece.begin(), piece.end());
      }
    });
  });
  py::dict arrays;
  for (Copy& copy : copies) {
    const auto size = static_cast<py::ssize_t>(copy.bytes.size());
    const py::array bytes = to_array(std::move(copy.bytes), {size});
    const py::dtype dtype(kElementNames[static_cast<size_t>(copy.element)]);
    arrays[copy.name.c_str()] = bytes.attr("view")(dtype).attr("reshape")(copy.shape);
  }
  return arrays;
}

template <class Index>
void register_saving(py::class_<Index>& c) {
  c.def(
       "save",
       [](const Index& index, int file, const py::bytes& settings) {
         save_with(index, settings, [&](const Sections& all) { write_container(file, all); });
       },
       py::arg("file"), py::arg("settings"))
      .def(
          "dump",
          [](const Index& index, const py::bytes& settings) {
            std::string bytes;
            save_with(index, settings, [&](const Sections& all) { bytes = container_bytes(all); });
            return py::bytes(bytes);
          },
          py::arg("settings"))
      .def("arrays", &saved_arrays<Index>, py::arg("names"))
      .def(
          "restore",
          [](Index& index, std::shared_ptr<Container> file) {
            without_gil([&] { index.restore(std::move(file)); });
          },
          py::arg("file"))
      .def("verify", [](const Index& index) { without_gil([&] { index.verify(); }); });
}

}  // namespace tercet
