// Kernels that take no panel (pairs, gathered rows, product codes, what encodes packed codes, a look for
// infinities) against the scalar level or their definition, on buffers of exactly the needed size.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "check.h"
#include "core/aligned.h"
#include "core/bfloat16.h"
#include "cpu/features.h"
#include "kernels/kernels.h"
#include "kernels/tables.h"

using namespace tercet;

TEST(pairs_equal_scalar) {
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  const Kernels& slow = kernels_for(Isa::scalar);
  for (const Isa isa : supported_isas()) {
    const Kernels& fast = kernels_for(isa);
    for (size_t dim = 0; dim < 200; ++dim) {
      std::unique_ptr<float[]> a(new float[dim + 1]), b(new float[dim + 1]);
      std::unique_ptr<uint16_t[]> ha(new uint16_t[dim + 1]), hb(new uint16_t[dim + 1]);
      std::vector<int8_t> ia(dim);
      std::vector<uint8_t> ib(dim);
      for (size_t k = 0; k < dim; ++k) {
        a[k] = normal(random), b[k] = normal(random);
        ha[k] = float_to_bfloat16(a[k]), hb[k] = float_to_bfloat16(b[k]);
        ia[k] = static_cast<int8_t>(random()), ib[k] = static_cast<uint8_t>(random());
      }
      CHECK(fast.pair_float32(a.get(), b.get(), dim) == slow.pair_float32(a.get(), b.get(), dim));
      CHECK(fast.pair_float32_l2(a.get(), b.get(), dim) == slow.pair_float32_l2(a.get(), b.get(), dim));
      CHECK(fast.pair_bfloat16(ha.get(), hb.get(), dim) == slow.pair_bfloat16(ha.get(), hb.get(), dim));
      CHECK(fast.pair_int8(ia.data(), ib.data(), dim) == slow.pair_int8(ia.data(), ib.data(), dim));
    }
  }
}

TEST(rows_equal_scalar) {
  std::mt19937 random(12);
  for (const Isa isa : supported_isas()) {
    for (const uint32_t dim : {1u, 15u, 16u, 63u, 64u, 65u, 127u, 200u, 384u}) {
      for (const size_t count : {0u, 1u, 3u, 4u, 5u, 8u, 31u}) {
        const size_t stride = dim + random() % 3, rows = 40;
        const auto values = std::make_unique<uint8_t[]>((rows - 1) * stride + dim);
        const auto query = std::make_unique<int8_t[]>(dim);
        std::vector<uint32_t> ids(count);
        for (size_t i = 0; i < (rows - 1) * stride + dim; ++i) values[i] = static_cast<uint8_t>(random());
        for (uint32_t k = 0; k < dim; ++k) query[k] = static_cast<int8_t>(random());
        for (uint32_t& id : ids) id = random() % rows;
        std::vector<int32_t> got(count), wanted(count);
        kernels_for(isa).rows_int8(query.get(), values.get(), stride, ids.data(), count, dim, got.data());
        kernels_for(Isa::scalar)
            .rows_int8(query.get(), values.get(), stride, ids.data(), count, dim, wanted.data());
        CHECK(got == wanted);
      }
    }
  }
}

TEST(product_codes_equal_scalar) {
  std::mt19937 random(13);
  constexpr size_t kCentroids = 9, kRows = 70;
  constexpr size_t kTable = (kProductParts * kProductEntries + kCentroids) * kPanelRows;
  AlignedVector<int16_t> table(kTable);
  for (int16_t& x : table) x = static_cast<int16_t>(static_cast<int>(random() % 3855) - 1927);
  std::vector<uint8_t> codes(kRows * kProductParts);
  std::vector<uint16_t> centroids(kRows);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random());
  for (uint16_t& c : centroids) c = static_cast<uint16_t>(random() % kCentroids);
  std::vector<float> scales(kPanelRows);
  for (float& s : scales) s = 0.01f * static_cast<float>(1 + random() % 100);
  const Panel panel{reinterpret_cast<const uint8_t*>(table.data()), nullptr, scales.data(), kPanelRows};
  const TokenSpan texts[] = {{0, kRows}, {5, 0}, {1, 1}, {kRows - 1, 1}, {7, 40}};
  for (const Isa isa : supported_isas()) {
    for (const bool residual : {false, true}) {
      RowsView rows{codes.data(), kRows, kProductParts, 128, Format::product};
      if (residual) rows.centroids = centroids.data();
      std::vector<float> got(5 * kPanelRows), wanted(5 * kPanelRows);
      kernels_for(isa).maxsim(Format::product)(panel, rows, texts, 5, got.data(), kPanelRows);
      for (size_t t = 0; t < 5; ++t) {  // by the definition
        for (int r = 0; r < kPanelRows; ++r) {
          float best = -std::numeric_limits<float>::infinity();
          for (size_t i = texts[t].begin; i < texts[t].begin + texts[t].count; ++i) {
            int sum = 0;
            const auto entry = [&](size_t row) { return table[row * kPanelRows + static_cast<size_t>(r)]; };
            for (size_t m = 0; m < kProductParts; ++m)
              sum += entry(m * kProductEntries + codes[i * kProductParts + m]);
            if (residual) sum += entry(kProductParts * kProductEntries + centroids[i]);
            best = std::max(best, static_cast<float>(sum) * scales[static_cast<size_t>(r)]);
          }
          wanted[t * kPanelRows + static_cast<size_t>(r)] = best;
        }
      }
      CHECK(got == wanted);
    }
  }
}

TEST(hadamard_equals_scalar) {
  std::mt19937 random(14);
  std::normal_distribution<float> normal;
  for (const Isa isa : supported_isas()) {
    for (uint32_t n = 1; n <= 4096; n *= 2) {
      const auto got = std::make_unique<float[]>(n), wanted = std::make_unique<float[]>(n);
      for (uint32_t k = 0; k < n; ++k) got[k] = wanted[k] = normal(random);
      kernels_for(isa).hadamard(got.get(), n);
      kernels_for(Isa::scalar).hadamard(wanted.get(), n);
      CHECK(std::memcmp(got.get(), wanted.get(), n * sizeof(float)) == 0);
    }
  }
}

TEST(scalar_hadamard_is_the_definition) {
  for (const uint32_t n : {1u, 2u, 8u, 128u, 512u}) {
    for (const uint32_t one : {0u, n / 3, n - 1}) {  // a row of the matrix: signs of common bits
      std::vector<float> v(n);
      v[one] = 3;
      kernels_for(Isa::scalar).hadamard(v.data(), n);
      const float part = 3 * (1 / std::sqrt(static_cast<float>(n)));
      for (uint32_t k = 0; k < n; ++k) CHECK(v[k] == (std::popcount(k & one) % 2 ? -part : part));
    }
  }
}

TEST(grids_equal_scalar) {
  std::mt19937 random(15);
  std::normal_distribution<float> normal;
  for (const Isa isa : supported_isas()) {
    for (uint32_t dim = 1; dim < 150; ++dim) {
      const uint32_t padded = (dim + kGridLanes - 1) / kGridLanes * kGridLanes;
      const auto x = std::make_unique<float[]>(padded);
      float largest = 0;
      for (uint32_t k = 0; k < dim; ++k) x[k] = normal(random), largest = std::max(largest, std::abs(x[k]));
      for (uint32_t k = 0; k < dim; ++k) x[k] /= largest;
      if (dim % 7 == 0) x[dim / 2] = 0;
      for (const int bits : {1, 2, 4}) {
        const GridFit got = kernels_for(isa).fit_grid(x.get(), dim, bits);
        const GridFit wanted = kernels_for(Isa::scalar).fit_grid(x.get(), dim, bits);
        CHECK(got.inverse_step == wanted.inverse_step && got.product == wanted.product);
      }
    }
  }
}

TEST(scalar_fused_multiply_add_is_the_exact_one) {
  // One dimension gives a * b, two give fma: cover cancellation, subnormals and every exponent.
  std::mt19937 random(9);
  const Kernels& scalar = kernels_for(Isa::scalar);
  for (int i = 0; i < 200000; ++i) {
    float a[33] = {}, b[33] = {};
    const auto any = [&] {
      float x;
      do {
        const uint32_t bits = random();
        std::memcpy(&x, &bits, 4);
      } while (!std::isfinite(x));
      return x;
    };
    a[0] = any(), b[0] = 1;
    a[32] = any(), b[32] = any();
    if (i % 2) a[0] = -a[32] * b[32] * (1 + static_cast<float>(static_cast<int>(random() % 5) - 2) * 1e-7f);
    if (!std::isfinite(a[0])) continue;
    const float expected = std::fma(a[32], b[32], a[0]), got = scalar.pair_float32(a, b, 33);
    CHECK(expected == got || (std::isnan(expected) && std::isnan(got)));
  }
}

TEST(non_finite_values_are_found_anywhere) {
  for (const Isa isa : supported_isas()) {
    const Kernels& level = kernels_for(isa);
    for (size_t count : {1u, 3u, 16u, 17u, 40u, 100u}) {
      std::unique_ptr<float[]> values(new float[count]);
      std::unique_ptr<uint16_t[]> halves(new uint16_t[count]);
      const auto finite = [&](Format format) {
        const void* data = format == Format::float32 ? static_cast<void*>(values.get()) : halves.get();
        return level.all_finite(format, static_cast<const uint8_t*>(data), count);
      };
      for (size_t i = 0; i < count; ++i) values[i] = -3e38f, halves[i] = 0xff7f;
      CHECK(finite(Format::float32) && finite(Format::bfloat16));
      for (size_t i = 0; i < count; ++i) {
        for (float bad : {INFINITY, -INFINITY, NAN}) {
          values[i] = bad, halves[i] = float_to_bfloat16(bad);
          CHECK(!finite(Format::float32) && !finite(Format::bfloat16));
        }
        values[i] = 1, halves[i] = 0x3f80;
      }
    }
  }
}
