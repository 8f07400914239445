// The indexes under sanitizers: random changes against a map, and searches from several threads meanwhile.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <thread>

#include "check.h"
#include "core/error.h"
#include "index/flat.h"
#include "index/multivector.h"
#include "saved.h"

using namespace tercet;

namespace {

std::vector<float> vectors(size_t count, uint32_t dim, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count * dim);
  for (float& v : values) v = normal(random);
  return values;
}

}  // namespace

TEST(flat_index_follows_a_map) {
  std::mt19937 random(3);
  constexpr uint32_t kDim = 19;
  for (const char* codec : {"float32", "bfloat16", "int8", "int4"}) {
    for (const Metric metric : {Metric::dot, Metric::cosine, Metric::l2}) {
      const bool rescore = codec != std::string("float32");
      FlatIndex index(kDim, metric, codec, 0, rescore);
      std::map<int64_t, std::vector<float>> model;
      for (int step = 0; step < 60; ++step) {
        IntIds ids;
        while (ids.size() < 5) {
          const int64_t id = random() % 40;
          if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
        }
        if (step % 3 == 2) {
          IntIds present;
          for (int64_t id : ids) {
            if (model.erase(id)) present.push_back(id);
          }
          index.remove(Ids(present));
        } else {
          const std::vector<float> rows = vectors(ids.size(), kDim, random);
          index.add(rows.data(), kDim, ids.size(), Ids(ids), 2);
          for (size_t i = 0; i < ids.size(); ++i) {
            model[ids[i]] = {rows.begin() + static_cast<long>(i * kDim),
                             rows.begin() + static_cast<long>((i + 1) * kDim)};
          }
        }
        CHECK(index.size() == model.size());
        const std::vector<float> query = vectors(1, kDim, random);
        const Results hits = index.search(query.data(), 1, 50, {}, rescore && step % 2, 2);
        CHECK(hits.filled[0] == model.size());
        IntIds found(std::get<IntIds>(hits.ids).begin(), std::get<IntIds>(hits.ids).begin() + hits.filled[0]);
        std::sort(found.begin(), found.end());
        IntIds expected;
        for (const auto& [id, row] : model) expected.push_back(id);
        CHECK(found == expected);
      }
      CHECK_FAILS(index.remove(Ids(IntIds{1000})), "1000");
    }
  }
}

TEST(multivector_index_compacts_and_keeps_every_token) {
  std::mt19937 random(4);
  constexpr uint32_t kDim = 8;
  MultiVectorIndex index(kDim, "float32");
  std::map<int64_t, std::vector<float>> model;
  for (int step = 0; step < 200; ++step) {
    const int64_t id = random() % 30;
    if (step % 4 == 3 && model.count(id)) {
      index.remove(Ids(IntIds{id}));
      model.erase(id);
    } else {
      const size_t tokens = random() % 20;
      std::vector<float> rows = vectors(tokens, kDim, random);
      const Ids given(IntIds{id});
      index.add({rows.data(), kDim, {0, tokens}}, given, 1);
      model[id] = rows;
    }
    for (const auto& [key, rows] : model) CHECK(index.get(Ids(IntIds{key})).values == rows);
    CHECK(index.size() == model.size());
  }
}

TEST(token_scores_are_those_of_stored_tokens) {
  std::mt19937 random(6);
  constexpr uint32_t kDim = 24;
  for (const char* codec : {"float32", "int8", "int2"}) {
    MultiVectorIndex index(kDim, codec);
    const std::vector<float> rows = vectors(90, kDim, random);
    index.add({rows.data(), kDim, {0, 40, 40, 41, 90}}, Ids(IntIds{5, 6, 7, 8}), 2);
    const std::vector<float> query = vectors(35, kDim, random);
    const auto found = index.token_scores(query.data(), 35, Ids(IntIds{8, 6, 5}), 2);
    CHECK(found.offsets == (std::vector<int64_t>{0, 49, 49, 89}));
    CHECK(found.scores.size() == 35 * 89);
    const std::vector<float> stored = index.get(Ids(IntIds{8, 6, 5})).values;
    for (size_t q = 0; q < 35; ++q) {
      for (size_t d = 0; d < 89; ++d) {
        double sum = 0;
        for (size_t i = 0; i < kDim; ++i) sum += double{query[q * kDim + i]} * stored[d * kDim + i];
        CHECK(std::abs(found.scores[q * 89 + d] - sum) < (codec == std::string("float32") ? 1e-4 : 0.5));
      }
    }
    CHECK(index.token_scores(query.data(), 35, Ids(IntIds{6}), 2).scores.empty());
    CHECK(index.token_scores(query.data(), 35, Ids(IntIds{}), 2).offsets.size() == 1);
    CHECK_FAILS(index.token_scores(query.data(), 0, Ids(IntIds{5}), 2), "no tokens");
    CHECK_FAILS(index.token_scores(query.data(), 1, Ids(IntIds{9}), 2), "9");
  }
}

TEST(restore_refuses_what_no_index_saves) {
  constexpr uint32_t kDim = 6;
  std::mt19937 random(5);
  const std::vector<float> rows = vectors(3, kDim, random);
  {
    MultiVectorIndex index(kDim, "float32");
    // 2^61 rows of 24 bytes are 3 * 2^64 bytes, which are none
    Sections state;
    state.own("ids", std::vector<int64_t>{0});
    state.own("next_id", std::vector<int64_t>{0});
    state.own("offsets", std::vector<int64_t>{0, int64_t{1} << 61});
    CHECK_FAILS(restore(index, file_of(state)), "codes: expected");
    CHECK(index.size() == 0);
  }
  for (const uint16_t scale : {0x7f80, 0x7fc0, 0xbf80, 0x7f00}) {  // infinite, NaN, negative, too large
    FlatIndex index(kDim, Metric::dot, "int8", 0, false);
    FlatIndex other(kDim, Metric::dot, "int8", 0, false);
    index.add(rows.data(), kDim, 1, {}, 1);
    CHECK_FAILS(restore(other, saved_with<uint16_t>(index, "scales", {scale})), "scale");
  }
  for (const char* codec : {"float32", "bfloat16"}) {
    FlatIndex index(kDim, Metric::dot, codec, 0, false);
    index.add(rows.data(), kDim, 3, {}, 1);
    auto codes = array_of<uint8_t>(*saved(index), "codes");
    codes[codes.size() - 1] = 0x7f;
    codes[codes.size() - 2] = 0x80;
    FlatIndex other(kDim, Metric::dot, codec, 0, false);
    const auto file = saved_with(index, "codes", codes);
    CHECK_FAILS(restore(other, file), "not finite");
    CHECK_FAILS(other.get(IntIds{0}), "not finite");  // every time
    CHECK_FAILS(other.add(rows.data(), kDim, 1, {}, 1), "not finite");
  }
  for (const float bad : {INFINITY, NAN, 1e20f}) {
    FlatIndex index(kDim, Metric::dot, "int8", 0, true);
    index.add(rows.data(), kDim, 3, {}, 1);
    auto originals = array_of<float>(*saved(index), "originals");
    originals[7] = bad;
    FlatIndex other(kDim, Metric::dot, "int8", 0, true);
    CHECK_FAILS(restore(other, saved_with(index, "originals", originals)), "originals: row 1");
  }
}

TEST(bounds_that_overflow_break_nothing) {
  constexpr uint32_t kDim = 6;
  std::mt19937 random(6);
  const std::vector<float> rows = vectors(40, kDim, random);
  FlatIndex index(kDim, Metric::dot, "int8", 0, true);
  index.add(rows.data(), kDim, 40, {}, 1);
  // codes so far from their vectors that a bound is infinite, in padding lanes of the scan as well
  const auto file = saved_with(index, "original_errors", std::vector<float>(40, 3e38f));
  FlatIndex other(kDim, Metric::dot, "int8", 0, true);
  restore(other, file);
  std::vector<float> query = vectors(1, kDim, random);
  for (float& x : query) x *= 1e14f;
  const Results hits = other.search(query.data(), 1, 5, {}, true, 1);
  CHECK(hits.filled[0] == 5);
}

TEST(no_ids_are_of_either_kind) {
  IdTable table;
  table.add(StringIds{"a"}, table.slots_for_add(StringIds{"a"}));
  table.add(IntIds{}, table.slots_for_add(IntIds{}));
  CHECK(table.ids() == Ids(StringIds{"a"}));
}

TEST(searching_while_changing) {
  constexpr uint32_t kDim = 16;
  MultiVectorIndex index(kDim, "int8");
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      while (!stop) {
        const std::vector<float> query = vectors(4, kDim, random);
        const Results hits = index.search({query.data(), kDim, {0, 4}}, 5, {}, {}, 2);
        CHECK(hits.filled[0] <= 5);
      }
    });
  }
  std::mt19937 random(99);
  for (int step = 0; step < 300; ++step) {
    const std::vector<float> rows = vectors(12, kDim, random);
    const Ids ids(IntIds{step % 20, 100 + step % 7});
    index.add({rows.data(), kDim, {0, 5, 12}}, ids, 2);
    if (step % 3 == 0) index.remove(Ids(IntIds{step % 20}));
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  CHECK(index.size() > 0);
}
