// Searches while others change the index: what ThreadSanitizer watches.
#include <atomic>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "index/hnsw/hnsw.h"

using namespace tercet;

namespace {

constexpr uint32_t kDim = 12;

std::vector<float> vectors(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> rows(count * kDim);
  for (float& x : rows) x = normal(random);
  return rows;
}

IntIds numbers(int64_t first, size_t count) {
  IntIds ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

}  // namespace

TEST(searches_run_while_others_change) {
  HNSWIndex index(kDim, Metric::cosine, {6, 40, 0}, true);
  const std::vector<float> first = vectors(600, 1);
  index.add(first.data(), kDim, 600, Ids(numbers(0, 600)), 2);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      const std::vector<float> queries = vectors(9, 100 + t);
      while (!stop) {
        const Results hits = index.search(queries.data(), t ? 9 : 1, 5, {}, 12, false, 1);
        for (const uint32_t filled : hits.filled) CHECK(filled == 5);
      }
    });
  }
  std::vector<std::thread> writers;
  for (int64_t w = 0; w < 2; ++w) {
    writers.emplace_back([&, w] {
      for (int64_t turn = 0; turn < 5; ++turn) {
        const std::vector<float> rows = vectors(120, static_cast<uint32_t>(10 * w + turn));
        const Ids ids = numbers(1000 * (w + 1), 120);
        index.add(rows.data(), kDim, 120, ids, 1);
        CHECK(index.get(ids).size() == rows.size());
        index.remove(ids);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(index.size() == 600);
}

TEST(what_was_removed_is_gone_and_what_is_there_is_found) {
  std::mt19937 random(4);
  HNSWIndex index(kDim, Metric::l2, {4, 20, 0}, true);
  std::vector<std::pair<int64_t, std::vector<float>>> there;
  for (int64_t turn = 0; turn < 60; ++turn) {
    const size_t count = 1 + random() % 60;
    const std::vector<float> rows = vectors(count, 50 + static_cast<uint32_t>(turn));
    index.add(rows.data(), kDim, count, Ids(numbers(1000 * turn, count)), 1);
    for (size_t i = 0; i < count; ++i) {
      there.emplace_back(1000 * turn + static_cast<int64_t>(i),
                         std::vector<float>(rows.begin() + static_cast<long>(i * kDim),
                                            rows.begin() + static_cast<long>((i + 1) * kDim)));
    }
    std::shuffle(there.begin(), there.end(), random);
    const size_t kept = turn % 7 == 6 ? 0 : there.size() * 2 / 3;
    IntIds gone;
    for (size_t i = kept; i < there.size(); ++i) gone.push_back(there[i].first);
    there.resize(kept);
    if (!gone.empty()) index.remove(Ids(gone));
    CHECK(index.size() == there.size());
    for (const auto& [id, row] : there) {
      const Results hits = index.search(row.data(), 1, 3, {}, 64, false, 1);
      CHECK(hits.filled[0] == std::min<size_t>(3, there.size()));
      CHECK(std::get<IntIds>(hits.ids)[0] == id);
      CHECK(hits.scores[0] == 0);
    }
  }
}
