// What an index saves, in memory: to be looked at, changed, and restored from.
#pragma once
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/aligned.h"
#include "storage/container.h"
#include "storage/writer.h"

namespace tercet {

inline std::shared_ptr<Container> open_bytes(const std::string& bytes) {
  const auto memory = std::make_shared<AlignedVector<uint8_t>>(bytes.size());
  if (!bytes.empty()) std::memcpy(memory->data(), bytes.data(), bytes.size());
  return std::make_shared<Container>(FileBytes{{memory->data(), memory->size()}, memory}, "memory");
}

inline std::shared_ptr<Container> file_of(const Sections& sections) {
  return open_bytes(container_bytes(sections));
}

template <class Index>
std::shared_ptr<Container> saved(const Index& index) {
  std::shared_ptr<Container> file;
  index.save([&](const Sections& sections) { file = file_of(sections); });
  return file;
}

// The same with another array in the place of one.
template <class T, class Index>
std::shared_ptr<Container> saved_with(const Index& index, const std::string& name, std::vector<T> values) {
  std::shared_ptr<Container> file;
  index.save([&](const Sections& sections) {
    Sections changed;
    for (const Section& section : sections.all()) {
      if (section.name == name) {
        changed.own(name, values);
      } else {
        changed.add(section);
      }
    }
    file = file_of(changed);
  });
  return file;
}

template <class T>
std::vector<T> array_of(const Container& file, const std::string& name) {
  const auto values = file.read<T>(name);
  return {values.begin(), values.end()};
}

// Restores, and looks at the payload too.
template <class Index>
void restore(Index& index, const std::shared_ptr<Container>& file) {
  index.restore(file);
  index.verify();
}

}  // namespace tercet
