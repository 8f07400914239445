// Every level against the scalar one, on buffers of exactly the needed size: under AddressSanitizer a read
// past a row, a panel or a scale is an error.
#include <algorithm>
#include <cmath>
#include <cstring>
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

namespace {

constexpr int kCentroids = 7;

struct Problem {
  Format format;
  uint32_t dim;
  int query_rows;
  std::unique_ptr<uint8_t[]> queries, rows;
  std::unique_ptr<uint16_t[]> scales;
  std::unique_ptr<float[]> bias;
  bool residual;  // every other one of packed rows
  std::unique_ptr<uint16_t[]> centroids;
  size_t num_rows, stride;

  Problem(Format f, uint32_t d, int q, size_t n, std::mt19937& random, size_t gap = 0)
      : format(f), dim(d), query_rows(q), num_rows(n), stride(row_bytes(f, d) + gap) {
    const size_t bytes = stride, query_bytes = query_row_bytes();
    queries.reset(new uint8_t[query_bytes * static_cast<size_t>(q)]);
    rows.reset(new uint8_t[bytes * n + (n == 0)]);
    scales.reset(new uint16_t[n + (n == 0)]);
    bias.reset(new float[n + (n == 0)]);
    residual = is_packed(f) && random() % 2;
    centroids.reset(new uint16_t[n + (n == 0)]);
    fill(queries.get(), d * static_cast<size_t>(q), random, true);
    if (is_packed(f)) {
      for (size_t i = 0; i < bytes * n; ++i) rows[i] = static_cast<uint8_t>(random());
    } else {
      fill(rows.get(), bytes * n / row_bytes(f, 1), random, false);
    }
    for (size_t i = 0; i < n; ++i) {
      scales[i] = float_to_bfloat16(0.001f * static_cast<float>(1 + random() % 100));
      bias[i] = static_cast<float>(random() % 100) - 50;
      centroids[i] = static_cast<uint16_t>(random() % kCentroids);
    }
  }

  // Queries of packed codes are bytes.
  size_t query_row_bytes() const { return is_packed(format) ? dim : row_bytes(format, dim); }

  void fill(uint8_t* out, size_t count, std::mt19937& random, bool query) const {
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < count; ++i) {
      const float x = normal(random);
      const uint16_t half = float_to_bfloat16(x);
      const int code = static_cast<int>(random() % 255) - 127;
      const uint8_t byte = static_cast<uint8_t>(query ? code : code + 128);
      if (format == Format::float32 || format == Format::float32_l2) std::memcpy(out + 4 * i, &x, 4);
      if (format == Format::bfloat16) std::memcpy(out + 2 * i, &half, 2);
      if (is_integer(format)) out[i] = byte;
    }
  }

  RowsView view(bool with_bias) const {
    RowsView v;
    v.data = rows.get();
    v.rows = num_rows;
    v.stride = stride;
    v.dim = dim;
    v.format = format;
    if (is_integer(format)) v.scales = scales.get();
    if (with_bias) v.bias = bias.get();
    if (residual) v.centroids = centroids.get();
    return v;
  }
};

struct Packed {
  AlignedVector<uint8_t> values;
  AlignedVector<int32_t> start = AlignedVector<int32_t>(kPanelRows);
  AlignedVector<float> scales = AlignedVector<float>(kPanelRows);
  AlignedVector<float> centroid_scores = AlignedVector<float>(kCentroids * kPanelRows);
  Panel panel;

  Packed(const PanelKernels& kernel, const Problem& p) {
    const size_t groups = panel_groups(p.format, p.dim);
    values.resize(groups * kernel.panel_group_bytes);
    for (int r = 0; r < kPanelRows; ++r) scales[r] = 0.5f + static_cast<float>(r);
    kernel.pack(p.queries.get(), p.query_row_bytes(), p.query_rows, p.dim, values.data(), start.data());
    panel = {values.data(), start.data(), scales.data(), p.query_rows};
    for (size_t i = 0; i < centroid_scores.size(); ++i) {
      centroid_scores[i] = static_cast<float>(i * 37 % 101) - 50;
    }
    if (p.residual) panel.centroid_scores = centroid_scores.data();
  }
};

// The bfloat16 instructions round differently; everything else is bit-identical.
bool same(float a, float b, bool exact) {
  if (std::memcmp(&a, &b, 4) == 0 || a == b) return true;  // also infinities, whose difference is NaN
  return !exact && std::abs(a - b) <= 1e-2f * (1 + std::abs(b));
}

void compare(const Kernels& level, const Problem& p) {
  const bool rounds = level.isa == Isa::avx512_bf16 || level.isa == Isa::amx;
  const bool exact = !(rounds && p.format == Format::bfloat16);
  const PanelKernels& fast = level.panel(p.format);
  const PanelKernels& slow = kernels_for(Isa::scalar).panel(p.format);
  const Packed a(fast, p), b(slow, p);

  // texts of every small length, the last rows included
  std::vector<TokenSpan> texts;
  for (size_t begin = 0, length = 0; begin + length <= p.num_rows;
       begin += length, length = (length + 1) % 21) {
    texts.push_back({begin, length});
    if (length > 20) break;
  }
  texts.push_back({0, p.num_rows});
  std::vector<float> best_a(texts.size() * kPanelRows), best_b(best_a);
  fast.maxsim(a.panel, p.view(false), texts.data(), texts.size(), best_a.data(), kPanelRows);
  slow.maxsim(b.panel, p.view(false), texts.data(), texts.size(), best_b.data(), kPanelRows);
  bool equal = true;
  for (size_t i = 0; i < texts.size(); ++i) {
    for (int r = 0; r < p.query_rows; ++r) {
      equal = equal && same(best_a[i * kPanelRows + r], best_b[i * kPanelRows + r], exact);
    }
  }
  CHECK(equal);

  for (const bool bias : {false, true}) {
    const size_t first = p.num_rows / 3, count = p.num_rows - first;
    AlignedVector<float> dot_a(count * kPanelRows), dot_b(count * kPanelRows);
    fast.dot(a.panel, p.view(bias), first, count, dot_a.data());
    slow.dot(b.panel, p.view(bias), first, count, dot_b.data());
    equal = true;
    for (size_t i = 0; i < count; ++i) {
      for (int r = 0; r < p.query_rows; ++r) {
        equal = equal && same(dot_a[i * kPanelRows + r], dot_b[i * kPanelRows + r], exact);
      }
    }
    CHECK(equal);

    // nearest is the first largest of dot, over two calls as over one
    std::vector<float> best(kPanelRows, -INFINITY), expected(best);
    std::vector<uint32_t> row(kPanelRows, UINT32_MAX), expected_row(row);
    fast.nearest(a.panel, p.view(bias), first, count / 3, best.data(), row.data());
    fast.nearest(a.panel, p.view(bias), first + count / 3, count - count / 3, best.data(), row.data());
    for (size_t i = 0; i < count; ++i) {
      for (int r = 0; r < p.query_rows; ++r) {
        const float score = dot_a[i * kPanelRows + r];
        if (!(score > expected[r])) continue;
        expected[r] = score;
        expected_row[r] = static_cast<uint32_t>(first + i);
      }
    }
    equal = true;
    for (int r = 0; r < p.query_rows; ++r) {
      equal = equal && same(best[r], expected[r], true) && row[r] == expected_row[r];
    }
    CHECK(equal);

    // what filter keeps is what dot says reaches the threshold, in row order
    std::vector<std::vector<Candidate>> kept(kPanelRows, std::vector<Candidate>(count));
    CandidateSink sink;
    for (int r = 0; r < kPanelRows; ++r) {
      sink.candidates[r] = kept[r].data();
      sink.counts[r] = 0;
      sink.thresholds[r] = r < p.query_rows && count ? dot_a[(count / 2) * kPanelRows + r] : NAN;
    }
    fast.filter(a.panel, p.view(bias), first, count, sink);
    for (int r = 0; r < p.query_rows; ++r) {
      size_t at = 0;
      bool right = true;
      for (size_t i = 0; i < count; ++i) {
        const float score = dot_a[i * kPanelRows + r];
        if (!(score >= sink.thresholds[r])) continue;
        right = right && at < sink.counts[r] && kept[r][at].row == first + i && kept[r][at].score == score;
        ++at;
      }
      CHECK(right && at == sink.counts[r]);
    }
  }
}

void compare_all(const Kernels& level, Format format, std::mt19937& random) {
  for (const uint32_t dim : {1u,   2u,   3u,   5u,   7u,   16u,  31u,  33u,  48u,  64u,  80u,  96u,  112u,
                             100u, 128u, 129u, 144u, 160u, 161u, 176u, 256u, 257u, 384u, 643u, 1025u}) {
    for (const int queries : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 32}) {
      compare(level, Problem(format, dim, queries, 133, random));
    }
  }
  for (const size_t rows : {0u, 1u, 2u, 15u, 16u, 17u, 31u}) {
    for (const uint32_t dim : {3u, 48u, 70u}) compare(level, Problem(format, dim, 5, rows, random));
  }
  for (const uint32_t dim : {48u, 70u, 128u}) compare(level, Problem(format, dim, 20, 40, random, 12));
  if (is_packed(format)) {  // too many dimensions for scores that are small
    const uint32_t dim = format == Format::int4 ? 2070 : format == Format::int2 ? 8200 : 16400;
    compare(level, Problem(format, dim, 20, 24, random));
  }
}

void compare_equal_rows(const Kernels& level, Format format, std::mt19937& random) {
  Problem p(format, 40, 32, 61, random);
  const size_t bytes = row_bytes(format, p.dim);
  p.residual = false;
  for (size_t i = 1; i < p.num_rows; ++i) {  // the same five rows over and over
    if (i >= 5) std::memcpy(p.rows.get() + i * bytes, p.rows.get() + (i - 5) * bytes, bytes);
    p.scales[i] = p.scales[0];
  }
  const PanelKernels& kernel = level.panel(format);
  const Packed packed(kernel, p);
  float best[kPanelRows];
  uint32_t row[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) best[r] = -INFINITY, row[r] = 99;
  kernel.nearest(packed.panel, p.view(false), 7, 0, best, row);
  CHECK(row[0] == 99);
  for (const size_t first : {7, 20, 37}) kernel.nearest(packed.panel, p.view(false), first, 24, best, row);
  for (int r = 0; r < kPanelRows; ++r) CHECK(row[r] >= 7 && row[r] < 12);
}

}  // namespace

TEST(every_level_equals_scalar) {
  std::mt19937 random(7);
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::scalar && supported_isas().size() > 1) continue;  // with itself, only where it is alone
    for (int i = 0; i < kFormats; ++i) compare_all(kernels_for(isa), static_cast<Format>(i), random);
  }
}

TEST(nearest_takes_the_lowest_of_equal_rows) {
  std::mt19937 random(10);
  for (const Isa isa : supported_isas()) {
    for (const Format format : {Format::float32, Format::bfloat16, Format::int8, Format::int4}) {
      compare_equal_rows(kernels_for(isa), format, random);
    }
  }
}

#if defined(TERCET_X86_KERNELS)
namespace tercet {
extern const AmxPanels kAmxEmulatedPanels;  // amx_emulated.cc
}

TEST(emulated_tiles_equal_scalar) {
  const auto& supported = supported_isas();
  if (std::find(supported.begin(), supported.end(), Isa::avx512_bf16) == supported.end()) {
    std::printf("skipped emulated_tiles_equal_scalar: needs AVX-512 with bfloat16\n");
    return;
  }
  std::mt19937 random(7);
  const Kernels level = amx_table(kAmxEmulatedPanels);
  for (const Format format : {Format::bfloat16, Format::int8, Format::int4, Format::int2, Format::int1}) {
    compare_all(level, format, random);
    compare_equal_rows(level, format, random);
    CHECK(level.panel(format).peak(1) > 0);
  }
}
#endif

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
