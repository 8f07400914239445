#include <algorithm>
#include <random>

#include "check.h"
#include "index/hnsw/pool.h"

using namespace tercet;

TEST(a_pool_keeps_the_best_and_expands_them_in_order) {
  std::mt19937 random(3);
  for (const size_t capacity : {1u, 2u, 10u, 64u}) {
    Pool pool;
    pool.reset(capacity);
    std::vector<PoolEntry> wanted;
    std::vector<uint32_t> expanded;
    uint32_t node = 0;
    for (int turn = 0; turn < 200; ++turn) {
      std::vector<PoolEntry> some(random() % 12);
      for (PoolEntry& entry : some) entry = PoolEntry(static_cast<float>(random() % 40) - 20, node++);
      wanted.insert(wanted.end(), some.begin(), some.end());
      pool.insert(some.data(), some.size());
      std::sort(wanted.begin(), wanted.end());
      wanted.resize(std::min(wanted.size(), capacity));
      CHECK(pool.size() == wanted.size());
      const auto same = [](const PoolEntry& a, const PoolEntry& b) {
        return a.node() == b.node() && a.score() == b.score() && a.expanded() == b.expanded();
      };
      CHECK(std::equal(pool.begin(), pool.end(), wanted.begin(), wanted.end(), same));
      const auto next = std::find_if(wanted.begin(), wanted.end(), [](auto& e) { return !e.expanded(); });
      CHECK(pool.expand_next() == (next == wanted.end() ? 0xffffffff : next->node()));
      if (next != wanted.end()) next->expand();
    }
  }
}
