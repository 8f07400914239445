// Saving and opening, the same for every index.
#pragma once
#include <memory>
#include <string>

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
      .def(
          "restore",
          [](Index& index, std::shared_ptr<Container> file) {
            without_gil([&] { index.restore(std::move(file)); });
          },
          py::arg("file"))
      .def("verify", [](const Index& index) { without_gil([&] { index.verify(); }); });
}

}  // namespace tercet
