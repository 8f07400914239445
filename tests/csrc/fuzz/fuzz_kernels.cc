// Codes and scales of any bytes: every codec decodes them, and every level scores them as the scalar one
// does.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "codec/codec.h"
#include "core/aligned.h"
#include "core/bfloat16.h"
#include "core/random.h"
#include "cpu/features.h"
#include "fuzz.h"
#include "kernels/kernels.h"

using namespace tercet;

namespace {

constexpr const char* kCodecs[] = {"float32", "bfloat16", "int8", "int4", "int2", "binary"};

struct Case {
  Format format = Format::float32;
  uint32_t dim = 1;
  size_t rows = 0;
  int query_rows = 1;
  uint8_t flags = 0;  // scales, bias, residuals
  size_t first = 0, num_centroids = 1;
  std::vector<uint8_t> codes, queries;
  std::vector<uint16_t> scales, centroids;
  std::vector<float> bias, query_scales, centroid_scores;
  uint64_t seed = 0;

  bool scaled() const { return is_integer(format) && flags & 1; }
  bool biased() const { return flags & 2; }
  bool residual() const { return is_packed(format) && flags & 4; }
  // Queries of packed codes are bytes.
  size_t query_bytes() const { return is_packed(format) ? dim : row_bytes(format, dim); }
};

template <class Archive>
void describe(Archive& a, Case& c) {
  a.bounded(c.format, 0, kFormats - 1);
  a.bounded(c.dim, 1, 700);
  a.bounded(c.rows, 0, 90);
  c.rows = std::min<size_t>(c.rows, 3 + 2000 / c.dim);
  a.bounded(c.query_rows, 1, kPanelRows);
  a.value(c.flags);
  a.bounded(c.first, 0, c.rows);
  a.bounded(c.num_centroids, 1, 20);
  a.value(c.seed);
  const auto exactly = [&](auto& v, size_t n) {
    for (v.resize(n); auto& x : v) a.value(x);
  };
  exactly(c.scales, c.rows);
  exactly(c.query_scales, kPanelRows);
  exactly(c.centroids, c.residual() ? c.rows : 0);
  exactly(c.bias, c.biased() ? c.rows : 0);
  exactly(c.codes, c.rows * row_bytes(c.format, c.dim));
  exactly(c.queries, static_cast<size_t>(c.query_rows) * c.query_bytes());
  exactly(c.centroid_scores, c.residual() ? c.num_centroids * kPanelRows : 0);
}

// As the callers of kernels have seen to it.
void make_valid(Case& c) {
  for (uint16_t& x : c.centroids) x = static_cast<uint16_t>(x % c.num_centroids);
  for (float& x : c.query_scales) x = std::isfinite(x) ? std::abs(x) : 1;
  for (float& x : c.centroid_scores) x = std::isfinite(x) ? x : 0;
}

template <class T>
std::unique_ptr<T[]> exact_copy(const std::vector<T>& v) {  // whose end the address sanitizer knows
  std::unique_ptr<T[]> copy(new T[v.size()]);
  std::copy(v.begin(), v.end(), copy.get());
  return copy;
}

struct Scores {
  std::vector<float> dot, best, nearest;
  std::vector<uint32_t> row;
  std::vector<std::vector<Candidate>> kept;
};

Scores scores_of(const PanelKernels& kernel, const Case& c) {
  const auto codes = exact_copy(c.codes);
  const auto queries = exact_copy(c.queries);
  const auto scales = exact_copy(c.scales), centroids = exact_copy(c.centroids);
  const auto bias = exact_copy(c.bias);
  AlignedVector<float> centroid_scores(c.centroid_scores.begin(), c.centroid_scores.end());
  AlignedVector<float> query_scales(c.query_scales.begin(), c.query_scales.end());
  AlignedVector<uint8_t> values(panel_groups(c.format, c.dim) * kernel.panel_group_bytes);
  AlignedVector<int32_t> start(kPanelRows);
  kernel.pack(queries.get(), c.query_bytes(), c.query_rows, c.dim, values.data(), start.data());
  Panel panel{values.data(), start.data(), query_scales.data(), c.query_rows};
  if (c.residual()) panel.centroid_scores = centroid_scores.data();
  RowsView rows{codes.get(), c.rows, row_bytes(c.format, c.dim), c.dim, c.format};
  if (c.scaled()) rows.scales = scales.get();
  if (c.residual()) rows.centroids = centroids.get();

  Scores s;
  const TokenSpan texts[] = {{0, c.rows}, {c.first, c.rows - c.first}, {c.first, 0}, {0, c.first}};
  s.best.resize(std::size(texts) * kPanelRows);
  kernel.maxsim(panel, rows, texts, std::size(texts), s.best.data(), kPanelRows);

  if (c.biased()) rows.bias = bias.get();
  const size_t count = c.rows - c.first;
  s.dot.resize(std::max<size_t>(count, 1) * kPanelRows);
  kernel.dot(panel, rows, c.first, count, s.dot.data());
  s.nearest.assign(kPanelRows, -std::numeric_limits<float>::infinity());
  s.row.assign(kPanelRows, 0);
  kernel.nearest(panel, rows, c.first, count, s.nearest.data(), s.row.data());
  s.kept.assign(kPanelRows, std::vector<Candidate>(count));
  CandidateSink sink;
  for (int r = 0; r < kPanelRows; ++r) {
    sink.candidates[r] = s.kept[r].data();
    sink.counts[r] = 0;
    sink.thresholds[r] = r >= c.query_rows ? std::numeric_limits<float>::quiet_NaN()
                         : count           ? s.dot[count / 2 * kPanelRows + r]
                                           : -std::numeric_limits<float>::infinity();
  }
  kernel.filter(panel, rows, c.first, count, sink);
  for (int r = 0; r < kPanelRows; ++r) s.kept[r].resize(sink.counts[r]);
  return s;
}

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void compare(const Case& c, const Scores& a, const Scores& b) {
  const size_t count = c.rows - c.first;
  const auto valid = [&](size_t i) {
    return !c.scaled() || std::abs(bfloat16_to_float(c.scales[i])) <= kMaxScale;
  };
  bool all_valid = true;
  for (size_t i = 0; i < c.rows; ++i) all_valid = all_valid && valid(i);
  for (int r = 0; r < c.query_rows; ++r) {
    bool nan = false;
    for (size_t i = 0; i < count; ++i) {
      if (!valid(c.first + i)) continue;
      REQUIRE(same(a.dot[i * kPanelRows + r], b.dot[i * kPanelRows + r]));
      nan = nan || std::isnan(b.dot[i * kPanelRows + r]);
    }
    if (!all_valid) continue;
    REQUIRE(same(a.nearest[r], b.nearest[r]) && a.row[r] == b.row[r]);
    REQUIRE(a.kept[r].size() == b.kept[r].size());
    for (size_t i = 0; i < a.kept[r].size(); ++i) {
      REQUIRE(a.kept[r][i].row == b.kept[r][i].row && a.kept[r][i].score == b.kept[r][i].score);
    }
    // A maximum of NaNs and others depends on the order in which they are compared.
    for (size_t i = 0; i < a.best.size() && !nan && !c.first; i += kPanelRows) {
      REQUIRE(same(a.best[i + r], b.best[i + r]));
    }
  }
}

void decode_all(const Case& c) {
  for (const char* const name : kCodecs) {
    const auto codec = make_codec(name, c.dim, c.seed);
    const size_t bytes = codec->row_bytes(c.dim);
    std::unique_ptr<uint8_t[]> code(new uint8_t[bytes]);
    std::unique_ptr<float[]> row(new float[c.dim]);
    for (size_t i = 0; i < bytes; ++i) code[i] = c.codes.empty() ? 0 : c.codes[i % c.codes.size()];
    codec->decode(code.get(), c.scales.empty() ? 0 : c.scales[0], c.dim, row.get());
    bool finite = true;
    for (uint32_t k = 0; k < c.dim; ++k) finite = finite && std::abs(row[k]) <= codec->max_magnitude();
    if (!finite) continue;
    uint16_t scale = 0;  // what it stands for can be encoded
    codec->encode(row.get(), c.dim, code.get(), &scale);
    codec->decode(code.get(), scale, c.dim, row.get());
    for (uint32_t k = 0; k < c.dim; ++k) REQUIRE(std::isfinite(row[k]));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Reader reader(data, size);
  Case c;
  describe(reader, c);
  make_valid(c);
  decode_all(c);
  const Scores expected = scores_of(kernels_for(Isa::scalar).panel(c.format), c);
  for (const Isa isa : supported_isas()) {
    const PanelKernels& kernel = kernels_for(isa).panel(c.format);
    if (isa == Isa::scalar) continue;
    const Scores got = scores_of(kernel, c);
    if (c.format == Format::bfloat16 && isa == Isa::avx512_bf16) continue;  // rounds differently
    compare(c, got, expected);
  }
  fuzz::happened(static_cast<uint64_t>(c.format) * 64 + (c.flags & 7) * 8 + (c.dim > 64) * 4 +
                 (c.rows > 15) * 2 + (c.query_rows > 8));
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<Bytes> all;
  uint64_t state = 1;
  for (int format = 0; format < kFormats; ++format) {
    for (const uint32_t dim : {1u, 3u, 64u, 67u, 200u, 641u}) {
      for (const size_t rows : {1, 17, 81}) {
        Case c;
        c.format = static_cast<Format>(format);
        c.dim = dim;
        c.rows = std::min<size_t>(rows, 3 + 2000 / dim);
        c.query_rows = static_cast<int>(1 + random_below(state, kPanelRows));
        c.flags = static_cast<uint8_t>(random_below(state, 8));
        c.first = random_below(state, 2);
        c.num_centroids = 9;
        c.codes.resize(c.rows * row_bytes(c.format, dim));
        c.queries.resize(static_cast<size_t>(c.query_rows) * c.query_bytes());
        for (auto* bytes : {&c.codes, &c.queries}) {
          for (uint8_t& b : *bytes) b = static_cast<uint8_t>(split_mix(state));
          const auto real = [&] {
            return static_cast<float>(static_cast<int32_t>(split_mix(state))) * 0x1p-31f;
          };
          for (size_t i = 0; format == 0 || format == 6 ? i < bytes->size() / 4 : false; ++i) {
            const float x = real();
            std::memcpy(bytes->data() + 4 * i, &x, 4);
          }
          for (size_t i = 0; format == 1 && i < bytes->size() / 2; ++i) {
            const uint16_t x = float_to_bfloat16(real());
            std::memcpy(bytes->data() + 2 * i, &x, 2);
          }
        }
        c.scales.assign(c.rows, 0x3c23);
        c.query_scales.assign(kPanelRows, 0.01f);
        c.centroids.assign(c.residual() ? c.rows : 0, 3);
        c.bias.assign(c.biased() ? c.rows : 0, -1.5f);
        c.centroid_scores.assign(c.residual() ? c.num_centroids * kPanelRows : 0, 40.5f);
        Writer writer;
        describe(writer, c);
        all.push_back(writer.out);
      }
    }
  }
  return all;
}
