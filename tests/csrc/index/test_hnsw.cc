// HNSWIndex: searches while others change it, which ThreadSanitizer watches, and what only shows inside.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
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

// Four search, two add, one removes: as many turns as take no time, or for TERCET_STRESS_SECONDS.
TEST(searches_run_while_others_change) {
  constexpr size_t kBatch = 40, kLive = 30;
  const char* const given = std::getenv("TERCET_STRESS_SECONDS");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(given ? std::atoi(given) : 0);
  const auto over = [&](int turn) { return turn >= 12 && std::chrono::steady_clock::now() >= end; };
  HNSWIndex index(kDim, Metric::cosine, "int8", {8, 60}, true);
  const std::vector<float> first = vectors(600, 0);
  index.add(first.data(), kDim, 600, Ids(numbers(0, 600)), 2);

  std::atomic<bool> stop{false};
  std::vector<std::thread> searchers, writers;
  for (uint32_t t = 0; t < 4; ++t) {
    searchers.emplace_back([&, t] {
      const std::vector<float> queries = vectors(9, 1000000 + t);
      while (!stop) {
        const Results hits = index.search(queries.data(), t % 2 ? 9 : 1, 5, {}, 12, false, 1);
        for (const uint32_t filled : hits.filled) CHECK(filled == 5);
      }
    });
  }
  std::mutex mutex;
  std::vector<int64_t> live, gone;  // batches, by their first id; the vectors follow from that
  const auto rows_of = [](int64_t batch) { return vectors(kBatch, static_cast<uint32_t>(batch)); };
  std::atomic<int64_t> next{1000};
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&] {
      for (int turn = 0; !over(turn); ++turn) {
        const int64_t batch = next.fetch_add(kBatch);
        const std::vector<float> rows = rows_of(batch);
        index.add(rows.data(), kDim, kBatch, Ids(numbers(batch, kBatch)), 1);
        CHECK(index.get(Ids(numbers(batch, kBatch))).size() == rows.size());
        const std::lock_guard<std::mutex> lock(mutex);
        live.push_back(batch);
      }
    });
  }
  writers.emplace_back([&] {
    std::mt19937 random(5);
    for (int turn = 0; !over(turn);) {
      int64_t batch;
      {
        const std::lock_guard<std::mutex> lock(mutex);
        if (live.size() < (given ? kLive : 2)) continue;
        const size_t at = random() % live.size();
        batch = live[at];
        live.erase(live.begin() + static_cast<long>(at));
        gone.push_back(batch);
      }
      index.remove(Ids(numbers(batch, kBatch)));
      ++turn;
    }
  });
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& searcher : searchers) searcher.join();

  CHECK(index.size() == 600 + live.size() * kBatch);
  const auto best_of = [&](int64_t batch) {
    const std::vector<float> rows = rows_of(batch);
    return std::get<IntIds>(index.search(rows.data(), kBatch, 1, {}, 200, false, 1).ids);
  };
  for (const int64_t batch : live) CHECK(best_of(batch) == numbers(batch, kBatch));
  for (const int64_t batch : gone) {
    const IntIds found = best_of(batch);
    for (size_t i = 0; i < kBatch; ++i) {
      CHECK(!index.contains(Ids(IntIds{batch + static_cast<int64_t>(i)})));
      CHECK(found[i] < batch || found[i] >= batch + static_cast<int64_t>(kBatch));
    }
  }
}

// Vectors so far from the origin that their codes are alike: the graph is built anew beside the old one.
TEST(searches_run_while_a_graph_leaves_its_codes) {
  constexpr size_t kFirst = 300, kAll = 1500;
  std::vector<float> rows = vectors(kAll, 3);
  for (size_t i = kFirst * kDim; i < rows.size(); ++i) rows[i] += 3000;
  HNSWIndex index(kDim, Metric::l2, "int8", {8, 60}, true);
  index.add(rows.data(), kDim, kFirst, Ids(numbers(0, kFirst)), 1);
  index.remove(Ids(numbers(0, 10)));
  CHECK(std::string(index.codec()) == "int8");
  std::atomic<bool> stop{false};
  std::vector<std::thread> searchers;
  for (size_t t = 0; t < 2; ++t) {
    searchers.emplace_back([&] {
      while (!stop) {
        const Results hits = index.search(rows.data() + 100 * kDim, 3, 1, {}, 40, false, 1);
        CHECK((std::get<IntIds>(hits.ids) == IntIds{100, 101, 102}));
      }
    });
  }
  index.add(rows.data() + kFirst * kDim, kDim, kAll - kFirst, Ids(numbers(kFirst, kAll - kFirst)), 1);
  stop = true;
  for (std::thread& t : searchers) t.join();
  CHECK(std::string(index.codec()) == "float32");
  const Results hits = index.search(rows.data() + 10 * kDim, kAll - 10, 1, {}, 60, false, 1);
  CHECK(std::get<IntIds>(hits.ids) == numbers(10, kAll - 10));
}

// Nodes of an add that failed are used again, and not in the order of slots.
TEST(a_mask_means_its_ids_after_an_add_that_failed) {
  constexpr size_t kBefore = 100, kAfter = 50;
  const std::vector<float> rows = vectors(3000, 6);
  HNSWIndex index(kDim, Metric::l2, "int8", {8, 60}, true);
  index.add(rows.data(), kDim, kBefore, Ids(numbers(0, kBefore)), 1);
  int batches = 0;
  try {
    index.add(rows.data(), kDim, 3000, Ids(numbers(1000, 3000)), 1, [&] {
      if (++batches == 3) throw std::runtime_error("stop");
    });
    CHECK(false);
  } catch (const std::runtime_error&) {
  }
  index.add(rows.data() + kBefore * kDim, kDim, kAfter, Ids(numbers(kBefore, kAfter)), 1);
  for (const int64_t one : {0, 99, 100, 123, 149}) {
    std::vector<uint8_t> mask(kBefore + kAfter, 0);
    mask[static_cast<size_t>(one)] = 1;
    const Results hits = index.search(rows.data(), 1, 1, {Mask{mask.data(), mask.size()}}, 60, false, 1);
    CHECK(std::get<IntIds>(hits.ids) == IntIds{one});
  }
}

// Rows of the most neighbours there may be: a hop through forbidden nodes asks for no more than it has room
// for.
TEST(the_largest_m_has_room_for_what_a_filter_lets_pass) {
  constexpr size_t kCount = 3000, kQueries = 40, kBest = 4, kWide = 8 * kDim;  // nearly all are far from all
  const std::vector<float> rows = vectors(8 * kCount, 7), queries = vectors(8 * kQueries, 8);
  HNSWIndex index(kWide, Metric::cosine, "int8", {NodeScores::kMost / 2, 60}, true);
  index.add(rows.data(), kWide, kCount, {}, 2);
  std::vector<uint8_t> mask(kCount);
  for (size_t i = 0; i < kCount; ++i) mask[i] = i % 2;
  const Filters filters{Mask{mask.data(), kCount}};
  size_t hits = 0;
  for (size_t q = 0; q < kQueries; ++q) {
    const auto best = [&](bool exact) {
      const Results of_one = index.search(queries.data() + q * kWide, 1, kBest, filters, kBest, exact, 1);
      return std::get<IntIds>(of_one.ids);
    };
    const IntIds found = best(false), wanted = best(true);
    for (const int64_t id : found) {
      CHECK(id % 2 == 1);
      hits += std::count(wanted.begin(), wanted.end(), id) == 1;
    }
  }
  CHECK(hits > kQueries * kBest * 9 / 10);
}

TEST(what_was_removed_is_gone_and_what_is_there_is_found) {
  std::mt19937 random(4);
  HNSWIndex index(kDim, Metric::l2, "int8", {4, 20}, true);
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
