// What an index saves: arrays by name. Those of its own memory are views, which must not change until they
// are written.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/types.h"

namespace tercet {

// What the elements of an array are; the numbers are those in files.
enum class Element : uint32_t { uint8 = 1, uint16 = 2, uint32 = 3, int64 = 4, float32 = 5 };
constexpr uint32_t kElements = 5;
constexpr const char* kElementNames[] = {"", "uint8", "uint16", "uint32", "int64", "float32"};
constexpr size_t kElementBytes[] = {0, 1, 2, 4, 8, 4};

template <class T>
constexpr Element element_of() {
  if constexpr (std::is_same_v<T, uint8_t>) return Element::uint8;
  if constexpr (std::is_same_v<T, uint16_t>) return Element::uint16;
  if constexpr (std::is_same_v<T, uint32_t>) return Element::uint32;
  if constexpr (std::is_same_v<T, int64_t>) return Element::int64;
  if constexpr (std::is_same_v<T, float>) return Element::float32;
}

struct Section {
  std::string name;
  Element element;
  std::vector<uint64_t> shape;
  std::vector<std::span<const uint8_t>> pieces;  // one after the other
  std::shared_ptr<const void> keeper;            // of the pieces, if they are no view
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& piece : pieces) sum += piece.size();
    return sum;
  }
};

class Sections {
 public:
  const std::vector<Section>& all() const { return all_; }

  // [count], or with a width [count / width, width].
  template <class T>
  void view(std::string name, const T* values, size_t count, size_t width = 0) {
    std::vector<uint64_t> shape{count};
    if (width) shape = {count / width, width};
    const auto* const first = reinterpret_cast<const uint8_t*>(values);
    all_.push_back(
        {std::move(name), element_of<T>(), std::move(shape), {{first, count * sizeof(T)}}, nullptr});
  }
  template <class Vector>
  void view(std::string name, const Vector& values, size_t width = 0) {
    view(std::move(name), values.data(), values.size(), width);
  }
  // The same of what is made to be saved.
  template <class T, class Allocator>
  void own(std::string name, std::vector<T, Allocator> values, size_t width = 0) {
    const auto kept = std::make_shared<const std::vector<T, Allocator>>(std::move(values));
    view(std::move(name), *kept, width);
    all_.back().keeper = kept;
  }
  // Some rows, in the order of `spans`: of one element, or of `width`.
  template <class T>
  void gather(std::string name, const T* values, const std::vector<TokenSpan>& spans, size_t width = 0) {
    view(std::move(name), values, 0, width);
    Section& section = all_.back();
    const size_t row = (width ? width : 1) * sizeof(T);
    section.pieces.clear();
    for (const TokenSpan& span : spans) {
      section.shape[0] += span.count;
      const std::span<const uint8_t> piece(reinterpret_cast<const uint8_t*>(values) + span.begin * row,
                                           span.count * row);
      auto& pieces = section.pieces;
      if (!pieces.empty() && pieces.back().data() + pieces.back().size() == piece.data()) {
        pieces.back() = {pieces.back().data(), pieces.back().size() + piece.size()};
      } else {
        pieces.push_back(piece);
      }
    }
  }
  void add(Section section) { all_.push_back(std::move(section)); }

 private:
  std::vector<Section> all_;
};

}  // namespace tercet
