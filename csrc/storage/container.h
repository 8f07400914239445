// A file of sections, for reading. Opening looks at the header and the directory; what is in a section is
// compared with its checksums when somebody asks for that. Whatever the bytes are, nothing is read outside of
// them.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "storage/mapped_file.h"
#include "storage/sections.h"

namespace tercet {

class Container {
 public:
  // `name` is what errors call it: they begin with it. Throws Error for what is no file of this version.
  Container(FileBytes file, std::string name);

  const std::string& name() const { return name_; }
  const std::shared_ptr<const void>& keeper() const { return file_.keeper; }
  // Names and bytes, in the order of the file.
  std::vector<std::pair<std::string, uint64_t>> sections() const;
  // 16 bytes that no other save of an index drew.
  std::span<const uint8_t> generation() const;

  // A section as it is in the file, or no values if there is none of this name.
  template <class T>
  std::span<const T> view(const std::string& section) const {
    const Entry* const entry = find(section, element_of<T>());
    if (!entry) return {};
    return {reinterpret_cast<const T*>(file_.bytes.data() + entry->offset), entry->bytes / sizeof(T)};
  }
  // The same, compared with its checksums first.
  template <class T>
  std::span<const T> read(const std::string& section) const {
    verify(section);
    return view<T>(section);
  }
  // As read(), of so many values.
  template <class T>
  std::vector<T> copy(const std::string& section, size_t count) const {
    const std::span<const T> values = read<T>(section);
    check_count(section, values.size(), count);
    return {values.begin(), values.end()};
  }
  static void check_count(const std::string& section, size_t got, size_t expected);

  // Compares a section with its checksums, or the whole file.
  void verify(const std::string& section) const;
  void verify() const;

  // Runs `f`; what it throws is a damage of this file.
  void blame(const std::function<void()>& f) const;

 private:
  struct Entry {
    std::string name;
    Element element;
    uint64_t offset, bytes;
    const uint8_t* checksums;  // uint32 of each block
  };

  void read_directory();
  void verify(const Entry& entry) const;
  const Entry* find(const std::string& section) const;
  const Entry* find(const std::string& section, Element element) const;

  FileBytes file_;
  std::string name_;
  std::vector<Entry> entries_;  // by rising offsets
  uint64_t directory_end_ = 0;
};

}  // namespace tercet
