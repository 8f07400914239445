// What the fuzz targets share. A target is an entry point as libFuzzer calls it, and seeds: valid inputs to
// begin with, made from valid objects when it starts. An input is read by the same template that writes a
// seed, so whatever bytes it has it is one: lengths that have to agree mostly do, values are anything.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace fuzz {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> seeds();  // of the target

// Something happened: inputs in which something new does are mutated further. libFuzzer sees for itself.
inline void (*on_event)(uint64_t) = nullptr;
inline void happened(uint64_t what) {
  if (on_event) on_event(what);
}
inline void happened(const std::string& what) {  // the words at its beginning
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : what.substr(0, 20)) {
    if (c >= 'a' && c <= 'z') hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  happened(hash);
}

// What may fail with an error, and nothing else.
template <class F>
bool attempt(F f) {
  try {
    f();
    return true;
  } catch (const tercet::Error& e) {
    happened(std::string(e.what()));
    return false;
  }
}

// Arrays of an input are at most this long.
constexpr size_t kMostElements = 1 << 14;

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  template <class T>
  void value(T& x) {
    bytes(&x, sizeof x);
  }
  // In [low, high].
  template <class T>
  void bounded(T& x, size_t low, size_t high) {
    uint16_t raw;
    value(raw);
    x = static_cast<T>(low + raw % (high - low + 1));
  }
  // Rarely a little shorter or longer than expected.
  template <class T>
  void array(std::vector<T>& v, size_t expected) {
    uint8_t off;
    value(off);
    size_t n = expected < kMostElements ? expected : kMostElements;
    if (off >= 253) n = n + off > 254 ? n + off - 254 : 0;
    v.resize(n);
    bytes(v.data(), n * sizeof(T));
  }

 private:
  // Zeros behind the end.
  void bytes(void* out, size_t n) {
    const size_t there = n < size_ ? n : size_;
    if (there) std::memcpy(out, data_, there);
    if (n > there) std::memset(static_cast<uint8_t*>(out) + there, 0, n - there);
    data_ += there;
    size_ -= there;
  }
  const uint8_t* data_;
  size_t size_;
};

class Writer {
 public:
  template <class T>
  void value(const T& x) {
    bytes(&x, sizeof x);
  }
  template <class T>
  void bounded(const T& x, size_t low, size_t) {
    value(static_cast<uint16_t>(static_cast<size_t>(x) - low));
  }
  template <class T>
  void array(const std::vector<T>& v, size_t) {
    value(uint8_t{0});
    bytes(v.data(), v.size() * sizeof(T));
  }
  Bytes out;

 private:
  void bytes(const void* from, size_t n) {
    const auto* const first = static_cast<const uint8_t*>(from);
    out.insert(out.end(), first, first + n);
  }
};

}  // namespace fuzz

#define REQUIRE(condition)                                                                 \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::fprintf(stderr, "%s:%d: REQUIRE failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (0)
