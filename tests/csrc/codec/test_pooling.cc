// Token pooling under sanitizers: shapes, counts, what stays, and threads.
#include <cmath>
#include <limits>
#include <random>

#include "check.h"
#include "codec/pooling.h"
#include "codec/ward.h"
#include "core/error.h"

using namespace tercet;

namespace {

RowsView view(const std::vector<float>& values, uint32_t dim) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() / dim, dim * sizeof(float), dim};
}

std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  return values;
}

}  // namespace

TEST(ward_cuts_where_it_is_told) {
  // Points on a line: pairs at a distance of 1, pairs of pairs at 10, all at 100.
  const float points[] = {0, 100, 1, 111, 10, 101, 11, 110};
  Ward tree;
  const auto fill = [&](size_t n) {
    tree.resize(n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < tree.row_stride(); ++j) {
        const float apart = j < n ? points[i] - points[j] : 0;
        tree.squares(i)[j] = apart * apart;
      }
    }
  };
  const std::vector<uint32_t> expected[] = {
      {0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 0, 3, 4, 1, 4, 3}, {0, 1, 0, 1, 0, 1, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 0}};
  const size_t clusters[] = {8, 4, 2, 1};
  for (int i = 0; i < 4; ++i) {
    fill(8);
    CHECK(tree.cut(clusters[i]) == expected[i]);
  }
  fill(1);
  CHECK(tree.cut(1) == std::vector<uint32_t>{0});
}

TEST(pooling_keeps_counts_whatever_the_threads) {
  constexpr uint32_t kDim = 19;
  const std::vector<size_t> offsets = {0, 0, 1, 3, 36, 36, 100, 165, 400};
  const std::vector<float> values = random_values(400 * kDim, 1);
  for (const size_t factor : {1, 2, 3, 64, 1000}) {
    for (const size_t kept : {0, 1, 40}) {
      const PooledTokens one = pool_tokens(view(values, kDim), offsets, factor, kept, 1, "docs");
      CHECK(one.offsets.size() == offsets.size());
      CHECK(one.values.size() == one.offsets.back() * kDim);
      for (size_t i = 0; i + 1 < offsets.size(); ++i) {
        const size_t tokens = offsets[i + 1] - offsets[i], left = std::min(kept, tokens), n = tokens - left;
        CHECK(one.offsets[i + 1] - one.offsets[i] == left + (n ? std::max<size_t>(1, n / factor) : 0));
      }
      const PooledTokens many = pool_tokens(view(values, kDim), offsets, factor, kept, 3, "docs");
      CHECK(many.values == one.values && many.offsets == one.offsets);
      if (factor == 1) CHECK(one.values == values && one.offsets == offsets);
    }
  }
}

TEST(pooling_of_extremes) {
  // Equal tokens, zeros, tiny ones, the largest: no overflow, no NaN, zero stays zero.
  for (const float size : {0.0f, 1e-45f, 1.0f, std::numeric_limits<float>::max()}) {
    std::vector<float> values(70 * 5, size);
    for (size_t i = 0; i < 35; ++i) values[i * 10] = -size;
    const PooledTokens pooled = pool_tokens(view(values, 5), {0, 70}, 7, 0, 2, "docs");
    CHECK(pooled.offsets.back() == 10);
    for (const float v : pooled.values) CHECK(std::isfinite(v) && (size > 0 || v == 0));
  }
  std::vector<float> bad(30, 1.0f);
  bad[14] = std::numeric_limits<float>::quiet_NaN();
  CHECK_FAILS(pool_tokens(view(bad, 3), {0, 2, 10}, 2, 0, 2, "docs"),
              "docs: row 4 has a value that is not finite");
  CHECK_FAILS(pool_tokens(view(bad, 3), {0, 10}, 0, 0, 1, "docs"), "factor: expected at least 1, got 0");
}
