// Ranked results on an emulated device against those of the processor: the same places in the same order, for
// ties of every kind.
#include <algorithm>
#include <cmath>
#include <set>

#include "check.h"
#include "cuda/fragments.cuh"
#include "device.h"
#include "emulator.h"

using namespace tercet;
using namespace device;

namespace {

struct Ranked {
  std::vector<int64_t> ids;
  std::vector<float> scores;
  bool operator==(const Ranked&) const = default;
};

// Whatever was there before must be gone.
struct Output {
  Ranked ranked;
  TercetSearch search{};
  Output(size_t queries, uint32_t k)
      : ranked{std::vector<int64_t>(queries * k, -77), std::vector<float>(queries * k, std::nanf(""))} {
    search.k = k;
    search.ids = ranked.ids.data();
    search.scores = ranked.scores.data();
  }
};

// With a workspace of so many bytes; 0: as many as it asks for.
Ranked on_device(const TercetVectors& vectors, const TercetQueries& queries, uint32_t k, uint64_t bytes = 0) {
  Output out(queries.count, k);
  if (!bytes) CHECK(tercet_cuda_vectors_workspace(&vectors, &queries, &out.search, &bytes) == 0);
  const Array<uint8_t> workspace(bytes);
  out.search.workspace = workspace.get();
  out.search.workspace_bytes = bytes;
  CHECK(tercet_cuda_search_vectors(&vectors, &queries, &out.search, nullptr) == 0);
  return out.ranked;
}

Ranked expected(const Stored& rows, const std::vector<float>& queries, uint32_t k, uint64_t seed) {
  const size_t count = queries.size() / rows.dim;
  const PackedQueries packed = codec_of(rows.format, rows.dim, seed)->bind(queries.data(), count, rows.dim);
  ScanRows scan;
  scan.rows = rows.view();
  Ranked out{std::vector<int64_t>(count * k, -1), std::vector<float>(count * k, -INFINITY)};
  const auto hits = scan_topk(packed, scan, k, TieBreak(), 1);
  for (size_t q = 0; q < count; ++q) {
    for (size_t i = 0; i < hits[q].size(); ++i) {
      out.ids[q * k + i] = hits[q][i].row;
      out.scores[q * k + i] = hits[q][i].score;
    }
  }
  return out;
}

void compare(const Stored& rows, size_t count, uint32_t k, std::mt19937& random) {
  const std::vector<float> queries = normals(count * rows.dim, random);
  const TercetVectors vectors{rows.rows(), nullptr, 3};
  const TercetQueries given{queries.data(), nullptr, kFloat32, static_cast<uint32_t>(count), 1, 0};
  const Ranked got = on_device(vectors, given, k), want = expected(rows, queries, k, 3);
  if (rows.format != Format::bfloat16) {
    CHECK(got == want);
    return;
  }
  for (size_t i = 0; i < got.scores.size(); ++i) {  // sums of another order: near ties may change places
    CHECK(got.scores[i] == want.scores[i] || std::abs(got.scores[i] - want.scores[i]) < 1e-4f);
  }
}

constexpr Format kAll[] = {Format::int8, Format::int4,     Format::int2,
                           Format::int1, Format::bfloat16, Format::float32};

}  // namespace

TEST(cuda_operands_hold_every_dimension_once) {
  using namespace tercet::cuda;
  for (uint32_t dim = 1; dim < 600; ++dim) {
    const auto all_once = [&]<Format kFormat>() {
      using Place = Layout<kFormat>;
      std::multiset<uint32_t> found;
      for (uint32_t step = 0; step < Place::chunks(dim) * Place::kSteps; ++step) {
        for (uint32_t i = 0; i < 8 * Place::kWordElements; ++i) {
          const uint32_t e = i / 8, k = Place::dimension(dim, step, i / 2 % 4, i % 2, e);
          if (k != kNoDimension) found.insert(k);
        }
      }
      CHECK(found.size() == dim && *found.rbegin() == dim - 1);
      CHECK(std::adjacent_find(found.begin(), found.end()) == found.end());
      CHECK(Place::stride(dim) >= tercet::row_bytes(kFormat, dim));
    };
    all_once.operator()<Format::int8>();
    all_once.operator()<Format::int4>();
    all_once.operator()<Format::int2>();
    all_once.operator()<Format::int1>();
    all_once.operator()<Format::bfloat16>();
  }
}

TEST(cuda_best_vectors_of_every_format_and_size) {
  std::mt19937 random(1);
  for (const Format format : kAll) {
    for (const uint32_t dim : {1u, 24u, 128u, 200u}) {
      for (const size_t n : {0u, 1u, 15u, 16u, 17u, 600u}) {
        const Stored rows(format, dim, n, random);
        compare(rows, 3, 10, random);
      }
    }
    const Stored rows(format, 24, 500, random);
    compare(rows, 70, 3, random);
  }
}

TEST(cuda_best_of_many_ties) {
  std::mt19937 random(2);
  for (const size_t n : {100u, 1000u, 5000u}) {
    Stored rows(Format::int1, 3, n, random);
    const std::vector<uint16_t> two{float_to_bfloat16(0.5f), 0};
    for (size_t i = 0; i < n; ++i) rows.scales[i] = two[random() % 8 == 0];
    for (const uint32_t k : {1u, 2u, 7u, 64u, 700u, 2048u}) compare(rows, 2, k, random);
    for (size_t i = 0; i < n; ++i) rows.scales[i] = 0;  // all are equal
    for (const uint32_t k : {1u, 33u, 2048u}) compare(rows, 1, k, random);
  }
}

TEST(cuda_ids_stand_for_rows) {
  std::mt19937 random(3);
  const Stored rows(Format::int8, 16, 100, random);
  std::vector<int64_t> ids(100);
  for (size_t i = 0; i < 100; ++i) ids[i] = static_cast<int64_t>(7 * i) + (int64_t{1} << 40);
  const std::vector<float> queries = normals(16, random);
  const TercetVectors vectors{rows.rows(), ids.data(), 0};
  const Ranked got = on_device(vectors, {queries.data(), nullptr, kFloat32, 1, 1, 0}, 120);
  const Ranked want = expected(rows, queries, 120, 0);
  for (size_t i = 0; i < 120; ++i)
    CHECK(got.ids[i] == (i < 100 ? ids[static_cast<size_t>(want.ids[i])] : -1));
  CHECK(got.scores == want.scores);
}

TEST(cuda_best_documents_among_candidates_by_id) {
  std::mt19937 random(4);
  const Stored tokens(Format::int4, 20, 60, random);
  std::vector<int64_t> begins, ends, ids;
  for (int64_t i = 0; i < 12; ++i) {
    begins.push_back(i % 5 ? 5 * i : 0);
    ends.push_back(i % 5 ? 5 * i + i % 4 : 0);  // some are empty, some alike
    ids.push_back(10 * i);
  }
  TercetDocuments documents{};
  documents.tokens = tokens.rows();
  documents.begins = begins.data();
  documents.ends = ends.data();
  documents.ids = ids.data();
  documents.count = 12;
  const std::vector<float> values = normals(2 * 3 * 20, random);
  const TercetQueries queries{values.data(), nullptr, kFloat32, 2, 3, 0};

  const auto search = [&](uint32_t k, const int64_t* candidates, uint32_t each, uint32_t by_id) {
    Output out(2, k ? k : 12);
    out.search.k = k;
    out.search.candidates = candidates;
    out.search.each = each;
    out.search.by_id = by_id;
    uint64_t bytes = 0;
    CHECK(tercet_cuda_documents_workspace(&documents, &queries, &out.search, &bytes) == 0);
    const Array<uint8_t> workspace(bytes);
    out.search.workspace = workspace.get();
    out.search.workspace_bytes = bytes;
    CHECK(tercet_cuda_search_documents(&documents, &queries, &out.search, nullptr) == 0);
    return out.ranked;
  };
  const std::vector<float> all = search(0, nullptr, 0, 0).scores;
  const auto best_of = [&](uint32_t k, const std::vector<std::set<int64_t>>& allowed) {
    Ranked want{std::vector<int64_t>(2 * k, -1), std::vector<float>(2 * k, -INFINITY)};
    for (size_t q = 0; q < 2; ++q) {
      std::vector<std::pair<float, int64_t>> found;
      for (const int64_t id : allowed[q]) found.push_back({-all[q * 12 + static_cast<size_t>(id / 10)], id});
      std::sort(found.begin(), found.end());
      for (size_t i = 0; i < std::min<size_t>(k, found.size()); ++i) {
        want.ids[q * k + i] = found[i].second;
        want.scores[q * k + i] = -found[i].first;
      }
    }
    return want;
  };
  std::set<int64_t> every(ids.begin(), ids.end());
  CHECK(search(5, nullptr, 0, 0) == best_of(5, {every, every}));
  CHECK(search(20, nullptr, 0, 0) == best_of(20, {every, every}));
  // Repeated, unknown, unfilled, in any order.
  const int64_t by_id[] = {110, 20, 20, -1, 7,  0,  50, 30, 1000, 110, 60,
                           -1,  40, 40, 40, 40, 40, 40, 40, 40,   40,  40};
  const std::vector<std::set<int64_t>> named{{0, 20, 30, 50, 60, 110}, {40}};
  CHECK(search(4, by_id, 11, 1) == best_of(4, named));
  CHECK(search(9, by_id, 11, 1) == best_of(9, named));
  const int64_t by_number[] = {0, 2, 5, 11, -1, 1, 4, 8, -1, -1};
  CHECK(search(3, by_number, 5, 0) == best_of(3, {{0, 20, 50, 110}, {10, 40, 80}}));
}

TEST(cuda_cosine_queries_are_normalised) {
  std::mt19937 random(5);
  const Stored rows(Format::float32, 37, 40, random);
  std::vector<float> queries = normals(3 * 37, random), unit(3 * 37);
  std::fill(queries.begin() + 37, queries.begin() + 74, 0.0f);
  for (size_t q = 0; q < 3; ++q) {  // as csrc/index/metric.h
    double sum = 0;
    for (size_t k = 0; k < 37; ++k) sum += static_cast<double>(queries[q * 37 + k]) * queries[q * 37 + k];
    for (size_t k = 0; k < 37; ++k)
      unit[q * 37 + k] = sum > 0 ? static_cast<float>(queries[q * 37 + k] / std::sqrt(sum)) : 0.0f;
  }
  const TercetVectors vectors{rows.rows(), nullptr, 0};
  CHECK(on_device(vectors, {queries.data(), nullptr, kFloat32, 3, 1, 1}, 40) == expected(rows, unit, 40, 0));
}

TEST(cuda_less_workspace_gives_the_same) {
  std::mt19937 random(7);
  const Stored rows(Format::int8, 40, 300, random);
  const std::vector<float> values = normals(100 * 40, random);
  const TercetVectors vectors{rows.rows(), nullptr, 0};
  const TercetQueries queries{values.data(), nullptr, kFloat32, 100, 1, 0};
  TercetQueries few = queries;
  few.count = 32;
  Output out(32, 5);
  uint64_t least = 0;
  CHECK(tercet_cuda_vectors_workspace(&vectors, &few, &out.search, &least) == 0);
  const Ranked want = on_device(vectors, queries, 5);
  CHECK(on_device(vectors, queries, 5, least) == want);
  CHECK(on_device(vectors, queries, 5, 2 * least + 100) == want);

  TercetDocuments documents{};
  documents.tokens = rows.rows();
  documents.count = 30;
  documents.each = 10;
  const TercetQueries texts{values.data(), nullptr, kFloat32, 25, 4, 0};
  TercetQueries one = texts;
  one.count = 1;
  CHECK(tercet_cuda_documents_workspace(&documents, &one, &out.search, &least) == 0);
  Ranked best[3];
  for (uint64_t i = 0; i < 3; ++i) {
    Output answer(25, 5);
    const uint64_t bytes = i == 0 ? 100 * least : i == 1 ? least : 3 * least + 7;
    const Array<uint8_t> workspace(bytes);
    answer.search.workspace = workspace.get();
    answer.search.workspace_bytes = bytes;
    CHECK(tercet_cuda_search_documents(&documents, &texts, &answer.search, nullptr) == 0);
    best[i] = answer.ranked;
  }
  CHECK(best[0] == best[1] && best[0] == best[2]);
  CHECK(best[0].ids[24 * 5] >= 0);
}

// What pieces are rounded up by is not lost for each query again: a workspace of the size that is asked for
// holds all queries, and a smaller one as many as it has room for.
TEST(cuda_queries_are_answered_at_once_where_there_is_room) {
  using tercet::cuda::emulator::launches;
  std::mt19937 random(8);
  const Stored rows(Format::int8, 40, 300, random);
  const std::vector<float> values = normals(100 * 40, random);
  const TercetVectors vectors{rows.rows(), nullptr, 0};
  TercetQueries queries{values.data(), nullptr, kFloat32, 100, 1, 0};
  size_t before = launches();
  on_device(vectors, queries, 5);
  CHECK(launches() - before == 5);

  TercetDocuments documents{};
  documents.tokens = rows.rows();
  documents.count = 30;
  documents.each = 10;
  queries = {values.data(), nullptr, kFloat32, 25, 4, 0};
  const auto launched = [&](uint32_t room) {
    Output out(25, 5);
    TercetQueries some = queries;
    some.count = room;
    uint64_t bytes = 0;
    CHECK(tercet_cuda_documents_workspace(&documents, &some, &out.search, &bytes) == 0);
    const Array<uint8_t> workspace(bytes);
    out.search.workspace = workspace.get();
    out.search.workspace_bytes = bytes;
    before = launches();
    CHECK(tercet_cuda_search_documents(&documents, &queries, &out.search, nullptr) == 0);
    return launches() - before;
  };
  CHECK(launched(25) == 3);
  CHECK(launched(13) == 2 * 3);
  CHECK(launched(5) == 5 * 3);
}

TEST(cuda_calls_refuse_what_they_cannot_do) {
  std::mt19937 random(6);
  const Stored rows(Format::int8, 8, 10, random);
  const std::vector<float> values = normals(8, random);
  TercetVectors vectors{rows.rows(), nullptr, 0};
  TercetQueries queries{values.data(), nullptr, kFloat32, 1, 1, 0};
  uint64_t bytes = 0;
  const auto message = [&](uint32_t k) -> std::string {
    Output out(1, k);
    out.search.workspace = &bytes;
    out.search.workspace_bytes = 8;
    return tercet_cuda_search_vectors(&vectors, &queries, &out.search, nullptr) ? tercet_cuda_error() : "";
  };
  CHECK(message(3).find("workspace: expected") == 0);
  CHECK(message(2049).find("k: expected at most 2048") == 0);
  CHECK(message(0).find("k: expected at least 1") == 0);
  queries.tokens = 2;
  CHECK(message(3).find("queries: expected one vector each") == 0);
  queries.tokens = 1;
  vectors.rows.dim = 8193;
  CHECK(message(3).find("dim: expected 1 to 8192 on a device, got 8193") == 0);
  vectors.rows.format = static_cast<uint32_t>(Format::product);
  CHECK(message(3).find("format: 7") == 0);
}
