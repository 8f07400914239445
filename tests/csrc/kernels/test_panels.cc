// Every level against the scalar one, on buffers of exactly the needed size: under AddressSanitizer a read
// past a row, a panel or a scale is an error.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
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

// What the scalar level makes of a problem. Under sanitizers this takes most of the time, so all levels are
// compared with it at once.
struct Expected {
  std::vector<TokenSpan> texts;  // of every small length, the last rows included; and all rows as one
  size_t first, count;           // the rows of dot
  std::vector<float> best;
  AlignedVector<float> dot[2];  // without and with a bias

  explicit Expected(const Problem& p) : first(p.num_rows / 3), count(p.num_rows - first) {
    for (size_t begin = 0, length = 0; begin + length <= p.num_rows;
         begin += length, length = (length + 1) % 21) {
      texts.push_back({begin, length});
      if (length > 20) break;
    }
    texts.push_back({0, p.num_rows});
    const PanelKernels& slow = kernels_for(Isa::scalar).panel(p.format);
    const Packed packed(slow, p);
    best.resize(texts.size() * kPanelRows);
    slow.maxsim(packed.panel, p.view(false), texts.data(), texts.size(), best.data(), kPanelRows);
    for (const bool bias : {false, true}) {
      dot[bias].resize(count * kPanelRows);
      slow.dot(packed.panel, p.view(bias), first, count, dot[bias].data());
    }
  }
};

void compare(const Kernels& level, const Problem& p, const Expected& expected) {
  const bool rounds = level.isa == Isa::avx512_bf16 || level.isa == Isa::amx;
  const bool exact = !(rounds && p.format == Format::bfloat16);
  const PanelKernels& fast = level.panel(p.format);
  const Packed packed(fast, p);
  const size_t first = expected.first, count = expected.count;
  const auto equal = [&](const auto& got, const auto& wanted) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (static_cast<int>(i % kPanelRows) < p.query_rows && !same(got[i], wanted[i], exact)) return false;
    }
    return got.size() == wanted.size();
  };
  std::vector<float> maxima(expected.best.size());
  fast.maxsim(packed.panel, p.view(false), expected.texts.data(), expected.texts.size(), maxima.data(),
              kPanelRows);
  CHECK(equal(maxima, expected.best));

  for (const bool bias : {false, true}) {
    AlignedVector<float> dot(count * kPanelRows);
    fast.dot(packed.panel, p.view(bias), first, count, dot.data());
    CHECK(equal(dot, expected.dot[bias]));

    // nearest is the first largest of dot, over two calls as over one
    std::vector<float> best(kPanelRows, -INFINITY), wanted(best);
    std::vector<uint32_t> row(kPanelRows, UINT32_MAX), wanted_row(row);
    fast.nearest(packed.panel, p.view(bias), first, count / 3, best.data(), row.data());
    fast.nearest(packed.panel, p.view(bias), first + count / 3, count - count / 3, best.data(), row.data());
    for (size_t i = 0; i < count; ++i) {
      for (int r = 0; r < p.query_rows; ++r) {
        const float score = dot[i * kPanelRows + r];
        if (!(score > wanted[r])) continue;
        wanted[r] = score;
        wanted_row[r] = static_cast<uint32_t>(first + i);
      }
    }
    for (int r = 0; r < p.query_rows; ++r) CHECK(same(best[r], wanted[r], true) && row[r] == wanted_row[r]);

    // what filter keeps is what dot says reaches the threshold, in row order
    std::vector<std::vector<Candidate>> kept(kPanelRows, std::vector<Candidate>(count));
    CandidateSink sink;
    for (int r = 0; r < kPanelRows; ++r) {
      sink.candidates[r] = kept[r].data();
      sink.counts[r] = 0;
      sink.thresholds[r] = r < p.query_rows && count ? dot[(count / 2) * kPanelRows + r] : NAN;
    }
    fast.filter(packed.panel, p.view(bias), first, count, sink);
    for (int r = 0; r < p.query_rows; ++r) {
      size_t at = 0;
      bool right = true;
      for (size_t i = 0; i < count; ++i) {
        const float score = dot[i * kPanelRows + r];
        if (!(score >= sink.thresholds[r])) continue;
        right = right && at < sink.counts[r] && kept[r][at].row == first + i && kept[r][at].score == score;
        ++at;
      }
      CHECK(right && at == sink.counts[r]);
    }
  }
}

void compare_all(const std::vector<const Kernels*>& levels, Format format, std::mt19937& random) {
  const auto compare_levels = [&](const Problem& p) {
    const Expected expected(p);
    for (const Kernels* level : levels) compare(*level, p, expected);
  };
  for (const uint32_t dim : {1u,   2u,   3u,   5u,   7u,   16u,  31u,  33u,  48u,  64u,  80u,  96u,  112u,
                             100u, 128u, 129u, 144u, 160u, 161u, 176u, 256u, 257u, 384u, 643u, 1025u}) {
    for (const int queries : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 32}) {
      compare_levels(Problem(format, dim, queries, 133, random));
    }
  }
  for (const size_t rows : {0u, 1u, 2u, 15u, 16u, 17u, 31u}) {
    for (const uint32_t dim : {3u, 48u, 70u}) compare_levels(Problem(format, dim, 5, rows, random));
  }
  for (const uint32_t dim : {48u, 70u, 128u}) compare_levels(Problem(format, dim, 20, 40, random, 12));
  if (is_packed(format)) {  // too many dimensions for scores that are small
    const uint32_t dim = format == Format::int4 ? 2070 : format == Format::int2 ? 8200 : 16400;
    compare_levels(Problem(format, dim, 20, 24, random));
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

#if defined(TERCET_X86_KERNELS)
namespace tercet {
extern const AmxPanels kAmxEmulatedPanels;  // amx_emulated.cc
}
#endif

namespace {

// Tiles in C++: what they do not replace is of another level, whose instructions must be there.
std::optional<Kernels> emulated_tiles() {
#if defined(TERCET_X86_KERNELS)
  const auto& supported = supported_isas();
  if (std::find(supported.begin(), supported.end(), Isa::avx512_bf16) != supported.end()) {
    return amx_table(kAmxEmulatedPanels);
  }
#endif
  std::printf("skipped the emulated tiles: they need AVX-512 with bfloat16\n");
  return {};
}

constexpr Format kTileFormats[] = {Format::bfloat16, Format::int8, Format::int4, Format::int2, Format::int1};

void compare_levels(Format format) {
  std::mt19937 random(7 + static_cast<unsigned>(format));
  const std::optional<Kernels> tiles = emulated_tiles();
  std::vector<const Kernels*> levels;
  for (const Isa isa : supported_isas()) {  // scalar with itself only where it is alone
    if (isa != Isa::scalar || supported_isas().size() == 1) levels.push_back(&kernels_for(isa));
  }
  const auto* const end = std::end(kTileFormats);
  if (tiles && std::find(std::begin(kTileFormats), end, format) != end) levels.push_back(&*tiles);
  compare_all(levels, format, random);
}

// A test for each format: they take long, and processes can share them.
[[maybe_unused]] const bool registered = [] {
  for (int i = 0; i < kFormats; ++i) {
    check::Register("every_level_equals_scalar: " + std::string(kFormatNames[i]),
                    [i] { compare_levels(static_cast<Format>(i)); });
  }
  return true;
}();

}  // namespace

TEST(nearest_takes_the_lowest_of_equal_rows) {
  std::mt19937 random(10);
  for (const Isa isa : supported_isas()) {
    for (const Format format : {Format::float32, Format::bfloat16, Format::int8, Format::int4}) {
      compare_equal_rows(kernels_for(isa), format, random);
    }
  }
  if (const std::optional<Kernels> tiles = emulated_tiles()) {
    for (const Format format : kTileFormats) compare_equal_rows(*tiles, format, random);
  }
}

TEST(emulated_tiles_have_a_peak) {
  const std::optional<Kernels> tiles = emulated_tiles();
  for (const Format format : kTileFormats) CHECK(!tiles || tiles->panel(format).peak(1) > 0);
}
