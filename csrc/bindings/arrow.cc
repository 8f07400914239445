// Token vectors from Arrow arrays, list<fixed_size_list<float>>, without a copy. The structures are those of
// Arrow's C data and C stream interfaces, which its producers hand over in capsules.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "core/error.h"

namespace tercet {
namespace {

struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  int64_t flags;
  int64_t n_children;
  ArrowSchema** children;
  ArrowSchema* dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};
struct ArrowArray {
  int64_t length;
  int64_t null_count;  // -1: nobody counted
  int64_t offset;      // of the first entry, in entries; children have their own
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;  // the first: a bit for each entry that is not null
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};
struct ArrowArrayStream {
  int (*get_schema)(ArrowArrayStream*, ArrowSchema* out);
  int (*get_next)(ArrowArrayStream*, ArrowArray* out);
  const char* (*get_last_error)(ArrowArrayStream*);
  void (*release)(ArrowArrayStream*);
  void* private_data;
};

// Numbers, which numpy calls by these names. tercet.arrays decides which of them are vectors.
const char* number_of(const std::string& format) {
  constexpr const char* kNumbers[][2] = {{"c", "int8"},    {"C", "uint8"},   {"s", "int16"},  {"S", "uint16"},
                                         {"i", "int32"},   {"I", "uint32"},  {"l", "int64"},  {"L", "uint64"},
                                         {"e", "float16"}, {"f", "float32"}, {"g", "float64"}};
  for (const auto& [code, name] : kNumbers) {
    if (format == code) return name;
  }
  return nullptr;
}

// A type as an error names it.
std::string describe(const ArrowSchema& type) {
  const std::string format = type.format;
  if (type.dictionary) return "dictionary<" + describe(*type.dictionary) + ">";
  if (const char* const number = number_of(format)) return number;
  std::string name = format == "+l"              ? "list"
                     : format == "+L"            ? "large_list"
                     : format.starts_with("+w:") ? "fixed_size_list[" + format.substr(3) + "]"
                     : format == "+s"            ? "struct"
                                                 : "the Arrow format \"" + format + "\"";
  if (type.n_children == 1) name += "<" + describe(*type.children[0]) + ">";
  return name;
}

struct TokenType {
  bool large;  // offsets of 64 bits
  int64_t dim;
  py::dtype number;
};

TokenType token_type(const ArrowSchema& list, const std::string& name) {
  const std::string format = list.format;
  const ArrowSchema* const token = list.n_children == 1 ? list.children[0] : nullptr;
  if (token && (format == "+l" || format == "+L") && std::string(token->format).starts_with("+w:")) {
    const ArrowSchema& number = *token->children[0];
    const char* const dtype = number.dictionary ? nullptr : number_of(number.format);
    if (dtype) return {format == "+L", std::stoll(token->format + 3), py::dtype(dtype)};
  }
  fail(ErrorKind::type, name,
       ": expected list<fixed_size_list<float>> of Arrow, a list of vectors a text, got ", describe(list));
}

void check_no_nulls(const ArrowArray& array, int64_t first, int64_t count, const std::string& name,
                    const char* what) {
  const auto* const valid = static_cast<const uint8_t*>(array.buffers[0]);
  if (array.null_count == 0 || !valid) return;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = array.offset + first + i;
    require(valid[at / 8] >> at % 8 & 1, name, ": expected no nulls, got one for ", what, " ", i);
  }
}

// Where the texts of a list array begin, and the last one ends, in entries of its child.
std::vector<int64_t> bounds_of(const ArrowArray& list, bool large, const std::string& name) {
  std::vector<int64_t> bounds(static_cast<size_t>(list.length) + 1, 0);
  if (list.length == 0) return bounds;  // which may come without offsets
  const auto* const raw = static_cast<const uint8_t*>(list.buffers[1]);
  for (size_t i = 0; i < bounds.size(); ++i) {
    const size_t at = static_cast<size_t>(list.offset) + i;
    if (large) {
      std::memcpy(&bounds[i], raw + at * sizeof(int64_t), sizeof(int64_t));
    } else {
      int32_t bound;
      std::memcpy(&bound, raw + at * sizeof(int32_t), sizeof(int32_t));
      bounds[i] = bound;
    }
    require(bounds[i] >= (i ? bounds[i - 1] : 0) && bounds[i] <= list.children[0]->length, name,
            ": the offsets of an Arrow list leave its values");
  }
  return bounds;
}

// Takes `array` over; (values[total, dim], offsets int64[n + 1]), where the values lie in its memory.
py::tuple tokens_of(ArrowArray* array, const TokenType& type, const std::string& name) {
  auto* const list = new ArrowArray(*array);
  array->release = nullptr;
  const py::capsule owner(list, [](void* p) {
    auto* const a = static_cast<ArrowArray*>(p);
    if (a->release) a->release(a);
    delete a;
  });
  const std::vector<int64_t> bounds = bounds_of(*list, type.large, name);
  const ArrowArray& tokens = *list->children[0];
  const ArrowArray& numbers = *tokens.children[0];
  const int64_t first = bounds.front(), count = bounds.back() - first;
  check_no_nulls(*list, 0, list->length, name, "text");
  check_no_nulls(tokens, first, count, name, "token");
  const int64_t begin = (tokens.offset + first) * type.dim;
  require(count == 0 || begin + count * type.dim <= numbers.length, name,
          ": an Arrow fixed_size_list is longer than its values");
  check_no_nulls(numbers, begin, count * type.dim, name, "value");
  std::vector<int64_t> from_first;
  for (const int64_t bound : bounds) from_first.push_back(bound - first);
  const py::array offsets = to_array(std::move(from_first), {static_cast<py::ssize_t>(bounds.size())});
  const std::vector<py::ssize_t> shape{count, type.dim};
  if (count == 0) return py::make_tuple(py::array(type.number, shape), offsets);
  const auto* const data = static_cast<const uint8_t*>(numbers.buffers[1]);
  py::array values(type.number, shape, data + (numbers.offset + begin) * type.number.itemsize(), owner);
  values.attr("setflags")(py::arg("write") = false);  // Arrow's memory is shared and never changes
  return py::make_tuple(values, offsets);
}

py::tuple from_arrow(const py::capsule& schema, const py::capsule& array, const std::string& name) {
  auto* const given = static_cast<ArrowArray*>(PyCapsule_GetPointer(array.ptr(), "arrow_array"));
  const auto* const type = static_cast<ArrowSchema*>(PyCapsule_GetPointer(schema.ptr(), "arrow_schema"));
  if (!given || !type) throw py::error_already_set();
  require(given->release && type->release, name, ": the Arrow capsules were used already");
  return tokens_of(given, token_type(*type, name), name);
}

// What a stream hands over is released when it is no longer needed, and if something fails.
template <class T>
struct Released : T {
  Released() : T{} {}
  ~Released() {
    if (this->release) this->release(this);
  }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;
};

py::list from_arrow_stream(const py::capsule& capsule, const std::string& name) {
  auto* const stream =
      static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule.ptr(), "arrow_array_stream"));
  if (!stream) throw py::error_already_set();
  require(stream->release, name, ": the Arrow stream was used already");
  const auto check = [&](int status) {
    const char* const why = status ? stream->get_last_error(stream) : nullptr;
    require(status == 0, name, ": the Arrow stream failed: ", why ? why : std::strerror(status));
  };
  Released<ArrowSchema> schema;
  check(stream->get_schema(stream, &schema));
  const TokenType type = token_type(schema, name);
  py::list parts;
  for (;;) {
    Released<ArrowArray> chunk;
    check(stream->get_next(stream, &chunk));
    if (!chunk.release) break;
    parts.append(tokens_of(&chunk, type, name));
  }
  if (parts.empty()) {  // no texts, of vectors of this type
    const std::vector<py::ssize_t> shape{0, type.dim};
    parts.append(py::make_tuple(py::array(type.number, shape), to_array(std::vector<int64_t>{0}, {1})));
  }
  return parts;
}

}  // namespace

void register_arrow(py::module_& m) {
  m.def("from_arrow", &from_arrow, py::arg("schema"), py::arg("array"), py::arg("name"));
  m.def("from_arrow_stream", &from_arrow_stream, py::arg("stream"), py::arg("name"));
}

}  // namespace tercet
