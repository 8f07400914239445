#include <algorithm>
#include <random>

#include "check.h"
#include "core/topk.h"

using namespace tercet;

namespace {

struct Descending final : TieBreak {
  bool before(uint32_t a, uint32_t b) const override { return a > b; }
};

// Pushes in blocks, skipping only what is below the threshold, as the scans do.
std::vector<Candidate> collect(const std::vector<Candidate>& all, size_t k, size_t block,
                               const BetterThan& better) {
  TopK topk(k, block);
  for (size_t i = 0; i < all.size(); i += block) {
    for (size_t j = i; j < std::min(i + block, all.size()); ++j) {
      if (all[j].score >= topk.threshold()) topk.push(all[j]);
    }
    topk.make_room(better);
  }
  return merge_topk({&topk}, k, better);
}

}  // namespace

TEST(topk_equals_a_full_sort_with_ties) {
  std::mt19937 random(1);
  const TieBreak ascending;
  const Descending descending;
  for (const TieBreak* ties :
       {static_cast<const TieBreak*>(&ascending), static_cast<const TieBreak*>(&descending)}) {
    const BetterThan better{ties};
    for (size_t n : {1u, 5u, 100u, 3000u}) {
      for (size_t k : {1u, 3u, 10u, 100u, 3000u}) {
        if (k > n) continue;
        std::vector<Candidate> all(n);
        for (size_t i = 0; i < n; ++i) all[i] = {static_cast<float>(random() % 7), static_cast<uint32_t>(i)};
        std::vector<Candidate> sorted = all;
        std::sort(sorted.begin(), sorted.end(), better);
        for (size_t block : {1u, 16u, 256u}) {
          const auto best = collect(all, k, block, better);
          bool same = best.size() == k;
          for (size_t i = 0; same && i < k; ++i)
            same = best[i].row == sorted[i].row && best[i].score == sorted[i].score;
          CHECK(same);
        }
      }
    }
  }
}
