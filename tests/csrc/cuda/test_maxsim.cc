// MaxSim on an emulated device against the scan of the processor, from float32 queries to scores: bit for bit
// but for bfloat16, whose instruction adds in an order of its own.
#include <algorithm>
#include <cmath>
#include <optional>

#include "check.h"
#include "device.h"
#include "emulator.h"

using namespace tercet;
using namespace device;

namespace {

struct Problem {
  Stored tokens;
  uint64_t seed = 7;
  std::vector<TokenSpan> texts;
  std::vector<int64_t> begins, ends;
  std::optional<Stored> codes;  // of the codebook
  std::unique_ptr<Codebook> codebook;

  // Texts of such lengths, one after the other.
  Problem(Format format, uint32_t dim, const std::vector<size_t>& lengths, std::mt19937& random,
          size_t centroids = 0)
      : tokens(format, dim, sum(lengths), random, centroids) {
    size_t row = 0;
    for (const size_t n : lengths) {
      texts.push_back({row, n});
      begins.push_back(static_cast<int64_t>(row));
      ends.push_back(static_cast<int64_t>(row + n));
      row += n;
    }
    if (!centroids) return;
    codes.emplace(Format::int8, dim, centroids, random);
    codebook =
        std::make_unique<Codebook>(Centroids(dim, {codes->codes.begin(), codes->codes.end()}, codes->scales),
                                   std::vector<uint32_t>{0, static_cast<uint32_t>(centroids)});
  }

  static size_t sum(const std::vector<size_t>& lengths) {
    size_t total = 0;
    for (const size_t n : lengths) total += n;
    return total;
  }

  TercetDocuments documents() const {
    TercetDocuments d{};
    d.tokens = tokens.rows();
    if (codes) d.codebook = codes->rows();
    d.begins = begins.data();
    d.ends = ends.data();
    d.seed = seed;
    d.count = static_cast<uint32_t>(texts.size());
    return d;
  }
};

// Queries [count][tokens][dim], of which some tokens count.
struct Queries {
  uint32_t count, tokens, dim;
  std::vector<float> values;
  std::vector<uint32_t> lengths;

  Queries(std::vector<uint32_t> n, uint32_t d, std::mt19937& random)
      : count(static_cast<uint32_t>(n.size())),
        tokens(std::max<uint32_t>(1, *std::max_element(n.begin(), n.end()))),
        dim(d),
        values(normals(size_t{count} * tokens * d, random)),
        lengths(std::move(n)) {}

  TercetQueries given() const { return {values.data(), lengths.data(), kFloat32, count, tokens, 0}; }
};

std::vector<float> expected(const Problem& p, const Queries& q) {
  std::vector<float> rows;
  std::vector<size_t> offsets{0};
  for (uint32_t i = 0; i < q.count; ++i) {
    const float* const first = q.values.data() + size_t{i} * q.tokens * q.dim;
    rows.insert(rows.end(), first, first + size_t{q.lengths[i]} * q.dim);
    offsets.push_back(offsets.back() + q.lengths[i]);
  }
  const auto codec = codec_of(p.tokens.format, q.dim, p.seed);
  const PackedQueries packed = p.codebook ? codec->bind_residuals(rows.data(), offsets.back(), *p.codebook)
                                          : codec->bind(rows.data(), offsets.back(), q.dim);
  ScanRows scan;
  scan.rows = p.tokens.view();
  std::vector<float> scores(q.count * p.texts.size());
  scan_maxsim({packed, offsets}, scan, p.texts.data(), p.texts.size(), 1,
              [&](size_t, size_t first, size_t n, const float* block) {
                for (size_t i = 0; i < q.count; ++i)
                  std::copy(block + i * n, block + (i + 1) * n, scores.data() + i * p.texts.size() + first);
              });
  return scores;
}

std::vector<float> on_device(const TercetDocuments& documents, const TercetQueries& queries,
                             const int64_t* candidates = nullptr, uint32_t each = 0) {
  TercetSearch search{};
  search.candidates = candidates;
  search.each = each;
  uint64_t bytes = 0;
  CHECK(tercet_cuda_documents_workspace(&documents, &queries, &search, &bytes) == 0);
  const Array<uint8_t> workspace(bytes);
  search.workspace = workspace.get();
  search.workspace_bytes = bytes;
  std::vector<float> scores(size_t{queries.count} * (candidates ? each : documents.count), std::nanf(""));
  search.scores = scores.data();
  const int32_t status = tercet_cuda_search_documents(&documents, &queries, &search, nullptr);
  if (status) std::printf("%s\n", tercet_cuda_error());
  CHECK(status == 0);
  return scores;
}

bool same(const std::vector<float>& got, const std::vector<float>& want, Format format) {
  if (got.size() != want.size()) return false;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;
    const bool close = std::abs(got[i] - want[i]) <= 1e-3f * (1 + std::abs(want[i]));
    if (format != Format::bfloat16 || !close) {
      std::printf("score %zu of %zu: %.9g, expected %.9g\n", i, got.size(), got[i], want[i]);
      return false;
    }
  }
  return true;
}

void compare(const Problem& p, const Queries& q) {
  const std::vector<float> want = expected(p, q);
  for (const bool backwards : {false, true}) {
    tercet::cuda::emulator::run_backwards(backwards);
    if (!same(on_device(p.documents(), q.given()), want, p.tokens.format)) {
      std::printf("%s, %u dimensions\n", kFormatNames[static_cast<int>(p.tokens.format)], q.dim);
      CHECK(!"equal");
    }
  }
  tercet::cuda::emulator::run_backwards(false);
}

constexpr Format kAll[] = {Format::int8, Format::int4,     Format::int2,
                           Format::int1, Format::bfloat16, Format::float32};

}  // namespace

TEST(cuda_maxsim_of_every_format_and_dimension) {
  std::mt19937 random(1);
  for (const Format format : kAll) {
    for (const uint32_t dim : {1u,   3u,   16u,  31u,  32u,  33u,  48u,  64u,  65u,  96u,  100u,
                               127u, 128u, 129u, 200u, 256u, 320u, 384u, 768u, 999u, 1024u}) {
      const Problem p(format, dim, {5, 16, 17}, random);
      compare(p, Queries({3}, dim, random));
    }
  }
}

TEST(cuda_maxsim_of_every_length) {
  std::mt19937 random(2);
  for (const Format format : kAll) {
    std::vector<size_t> lengths{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 0, 47, 48, 49, 100};
    std::shuffle(lengths.begin(), lengths.end(), random);
    const Problem p(format, 40, lengths, random);
    compare(p, Queries({1, 31, 32, 33, 2, 65, 0, 8}, 40, random));
  }
}

TEST(cuda_maxsim_of_long_documents) {
  std::mt19937 random(3);
  for (const Format format : kAll) {
    for (const uint32_t dim : {32u, 136u}) {
      const Problem p(format, dim, {3, 1024, 1025, 0, 1200, 20}, random);
      compare(p, Queries({4, 40}, dim, random));
    }
  }
}

TEST(cuda_maxsim_of_residuals) {
  std::mt19937 random(4);
  for (const Format format : {Format::int2, Format::int1}) {
    for (const uint32_t dim : {5u, 32u, 64u, 96u, 128u, 130u, 256u}) {
      for (const size_t centroids : {1u, 5u, 130u}) {
        const Problem p(format, dim, {1, 0, 17, 40, 1030}, random, centroids);
        compare(p, Queries({1, 33}, dim, random));
      }
    }
  }
}

TEST(cuda_maxsim_of_queries_beyond_the_usual) {
  std::mt19937 random(5);
  const Problem p(Format::int4, 32, {20, 0, 31}, random);
  compare(p, Queries({1024, 1, 1000}, 32, random));
  Queries zero({2, 1}, 32, random);
  std::fill(zero.values.begin(), zero.values.end(), 0.0f);
  compare(p, zero);
  // Queries among the smallest floats, whose scales have no finite inverse.
  const Problem residual(Format::int2, 32, {20, 3}, random, 4);
  Queries tiny({3}, 32, random);
  for (float& x : tiny.values) x *= 1e-33f;
  compare(residual, tiny);
}

TEST(cuda_maxsim_of_infinite_scores) {
  std::mt19937 random(6);
  Problem p(Format::float32, 2, {1, 1, 2}, random);
  const float values[] = {3e38f, 3e38f, -3e38f, -3e38f, 1, 1, 3e38f, -3e38f};
  std::memcpy(p.tokens.placed.data(), values, 8);
  std::memcpy(p.tokens.codes.data(), values, sizeof values);
  for (size_t i = 0; i < 4; ++i) std::memcpy(p.tokens.placed.data() + 16 * i, values + 2 * i, 8);
  Queries q({2}, 2, random);
  q.values = {3e38f, 3e38f, -3e38f, -3e38f};
  compare(p, q);  // both infinities have no sum
}

TEST(cuda_maxsim_of_candidates) {
  std::mt19937 random(7);
  const Problem p(Format::int8, 24, {5, 0, 16, 1030, 2}, random);
  const Queries q({3, 2}, 24, random);
  const std::vector<float> all = expected(p, q);
  const int64_t candidates[] = {4, 3, 0, -1, 1, 4, 2, 5, 0, int64_t{1} << 40, -1, 3, 3, 1};
  const std::vector<float> got = on_device(p.documents(), q.given(), candidates, 7);
  for (size_t i = 0; i < got.size(); ++i) {
    const bool there = candidates[i] >= 0 && candidates[i] < 5;
    const float want = there ? all[i / 7 * 5 + static_cast<size_t>(candidates[i])] : -INFINITY;
    CHECK(got[i] == want);
  }
}

TEST(cuda_documents_of_equal_room) {
  std::mt19937 random(8);
  const std::vector<uint32_t> lengths{3, 0, 8, 7, 9};  // one more than there is room for: all of it
  Problem p(Format::bfloat16, 40, {8, 8, 8, 8, 8}, random);
  const Queries q({5}, 40, random);
  for (size_t i = 0; i < 5; ++i) p.texts[i].count = std::min<uint32_t>(lengths[i], 8);
  const std::vector<float> want = expected(p, q);
  TercetDocuments documents = p.documents();
  documents.begins = documents.ends = nullptr;
  documents.lengths = lengths.data();
  documents.each = 8;
  CHECK(same(on_device(documents, q.given()), want, Format::bfloat16));
}

TEST(cuda_ranges_are_cut_to_the_rows_there_are) {
  std::mt19937 random(9);
  Problem p(Format::int4, 24, {8, 8, 8, 8}, random);
  p.begins = {-5, 30, 40, 20};
  p.ends = {4, 100, 50, 10};
  p.texts = {{0, 0}, {30, 2}, {0, 0}, {0, 0}};
  const Queries q({5}, 24, random);
  CHECK(same(on_device(p.documents(), q.given()), expected(p, q), Format::int4));
}

TEST(cuda_queries_of_two_bytes) {
  std::mt19937 random(10);
  const Problem p(Format::int8, 48, {5, 16, 40}, random);
  Queries q({5, 33}, 48, random);
  std::vector<uint16_t> halves(q.values.size());
  for (const bool bfloat16 : {true, false}) {
    for (size_t i = 0; i < halves.size(); ++i) {
      halves[i] = bfloat16 ? float_to_bfloat16(q.values[i])
                           : static_cast<uint16_t>(random() % 2 << 15 | random() % 0x7c00);
      q.values[i] = bfloat16 ? bfloat16_to_float(halves[i]) : half_to_float(halves[i]);
    }
    TercetQueries given = q.given();
    given.values = halves.data();
    given.element = bfloat16 ? kBfloat16 : kFloat16;
    CHECK(same(on_device(p.documents(), given), expected(p, q), Format::int8));
  }
}
