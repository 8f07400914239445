// Rows and searches for tests of the CUDA library, and what the processor's own code says of them.
#pragma once
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "codec/codebook.h"
#include "codec/codec.h"
#include "core/aligned.h"
#include "core/bfloat16.h"
#include "cuda/abi.h"
#include "index/scan.h"

namespace device {

using namespace tercet;

// Memory of exactly the size asked for, on a boundary as cudaMalloc has it.
template <class T>
struct Array {
  explicit Array(size_t n)
      : memory(static_cast<T*>(std::aligned_alloc(256, (n * sizeof(T) + 255) / 256 * 256))) {
    std::memset(static_cast<void*>(memory.get()), 0xa5, n * sizeof(T));
  }
  T* get() const { return memory.get(); }
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> memory;
};

// Random codes: every byte, every scale, zeros among them.
struct Stored {
  Format format;
  uint32_t dim;
  size_t count;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales, centroids;
  std::vector<uint8_t> placed;  // at the stride of the device, exactly as many bytes

  Stored(Format f, uint32_t d, size_t n, std::mt19937& random, size_t num_centroids = 0)
      : format(f), dim(d), count(n), codes(n * row_bytes(f, d)), scales(n), centroids(num_centroids ? n : 0) {
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random());
    for (size_t i = 0; f == Format::float32 && i < n * d; ++i) {
      const float x = normal(random);
      std::memcpy(codes.data() + 4 * i, &x, 4);
    }
    for (size_t i = 0; f == Format::bfloat16 && i < n * d; ++i) {
      const uint16_t x = float_to_bfloat16(normal(random));
      std::memcpy(codes.data() + 2 * i, &x, 2);
    }
    if (f == Format::int8) {
      for (uint8_t& x : codes) x = x ? x : 1;
    }
    for (uint16_t& x : scales) x = random() % 9 ? float_to_bfloat16(std::exp(normal(random)) * 0.01f) : 0;
    for (uint16_t& x : centroids) x = static_cast<uint16_t>(random() % num_centroids);
    const size_t stride = tercet_cuda_stride(static_cast<uint32_t>(f), d), bytes = row_bytes(f, d);
    placed.resize(n * stride);
    for (size_t i = 0; i < n; ++i) std::memcpy(placed.data() + i * stride, codes.data() + i * bytes, bytes);
  }

  RowsView view() const {
    RowsView v;
    v.data = codes.data();
    v.rows = count;
    v.stride = row_bytes(format, dim);
    v.dim = dim;
    v.format = format;
    if (is_integer(format)) v.scales = scales.data();
    if (!centroids.empty()) v.centroids = centroids.data();
    return v;
  }
  TercetRows rows() const {
    return {placed.data(),
            is_integer(format) ? scales.data() : nullptr,
            centroids.empty() ? nullptr : centroids.data(),
            count,
            static_cast<uint32_t>(format),
            dim};
  }
};

inline std::unique_ptr<Codec> codec_of(Format format, uint32_t dim, uint64_t seed) {
  if (format == Format::float32) return make_float32_codec();
  if (format == Format::bfloat16) return make_bfloat16_codec();
  if (format == Format::int8) return make_int8_codec();
  return make_packed_codec(format, dim, seed);
}

// TercetQueries::element
constexpr uint32_t kFloat32 = 0, kBfloat16 = 1, kFloat16 = 2;

// By the definition of binary16.
inline float half_to_float(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float size = exponent ? std::ldexp(static_cast<float>(fraction + 1024), exponent - 25)
                              : std::ldexp(static_cast<float>(fraction), -24);
  return half >> 15 ? -size : size;
}

inline std::vector<float> normals(size_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& x : values) x = normal(random);
  return values;
}

}  // namespace device
