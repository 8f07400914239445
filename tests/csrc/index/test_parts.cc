// Indexes that are parts of one: a training that is shared, and texts that are copied as they are stored.
#include <numeric>
#include <random>
#include <thread>

#include "check.h"
#include "core/error.h"
#include "index/multivector.h"
#include "saved.h"

using namespace tercet;

namespace {

constexpr uint32_t kDim = 12;

std::vector<float> rows(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count * kDim);
  for (float& v : values) v = normal(random);
  return values;
}

// `count` texts of 0, 1, .. 4, 0, .. tokens.
void add(MultiVectorIndex& index, size_t count, int64_t first_id, unsigned seed) {
  std::vector<size_t> offsets{0};
  for (size_t i = 0; i < count; ++i) offsets.push_back(offsets.back() + i % 5);
  const std::vector<float> values = rows(offsets.back(), seed);
  IntIds ids(count);
  std::iota(ids.begin(), ids.end(), first_id);
  index.add({values.data(), kDim, offsets}, Ids(ids), 2);
}

template <class T>
bool same_rows(const MultiVectorIndex& a, const MultiVectorIndex& b, const char* section) {
  return array_of<T>(*saved(a), section) == array_of<T>(*saved(b), section);
}

}  // namespace

TEST(texts_are_copied_as_they_are_stored) {
  for (const char* codec : {"float32", "bfloat16", "int8", "int4", "residual2", "pq16"}) {
    const bool residual = std::string(codec).find("residual") == 0 || std::string(codec) == "pq16";
    const std::vector<float> sample = rows(600, 1);
    MultiVectorIndex from(kDim, codec), to(kDim, codec), whole(kDim, codec);
    from.train({sample.data(), kDim, {0, 600}}, 16, 3, 2);
    for (MultiVectorIndex* index : {&to, &whole}) {
      if (residual) {
        index->share_training(from);
      } else {
        index->train({sample.data(), kDim, {0, 600}}, 16, 3, 2);
      }
    }
    add(from, 300, 0, 2);
    add(whole, 300, 0, 2);
    // Mapped ones too, in several steps, to an index that has lists by the second.
    MultiVectorIndex opened(kDim, codec);
    opened.restore(saved(from));
    for (uint32_t first = 0; first < 300; first += 100) {
      std::vector<uint32_t> slots(100);
      std::iota(slots.begin(), slots.end(), first);
      to.append_from(first == 100 ? opened : from, slots, 2);
    }
    CHECK(to.size() == 300 && to.num_tokens() == from.num_tokens());
    CHECK(to.ids() == whole.ids() && to.lengths() == whole.lengths());
    CHECK(same_rows<uint8_t>(to, whole, "codes"));
    CHECK(same_rows<uint16_t>(to, whole, "scales"));
    CHECK(same_rows<uint16_t>(to, whole, "centroids"));
    MultiVectorIndex again(kDim, codec);
    restore(again, saved(to));
    const std::vector<float> query = rows(4, 9);
    const TokenRows queries{query.data(), kDim, {0, 4}};
    const Results want = whole.search(queries, 300, {}, {0, true}, 1);
    const Results got = again.search(queries, 300, {}, {0, true}, 2);
    CHECK(got.ids == want.ids && got.scores == want.scores);
    CHECK(again.search(queries, 5, {}, {40, false}, 2).filled[0] == 5);

    const IntIds some{299, 7, 1000};
    CHECK((to.find(Ids(some)) == std::vector<int64_t>{299, 7, -1}));
    CHECK((to.find(Ids(StringIds{"a"})) == std::vector<int64_t>{-1}));
    CHECK_FAILS(to.append_from(from, {5}, 1), "there already");
    CHECK_FAILS(to.append_from(from, {300}, 1), "no slot 300 of 300");
    CHECK_FAILS(to.append_from(to, {1}, 1), "to itself");
    CHECK(to.size() == 300);
  }
}

TEST(only_like_is_appended_to_like) {
  MultiVectorIndex bytes(kDim, "int8"), other_dim(kDim + 1, "int8"), other_codec(kDim, "int4");
  add(bytes, 10, 0, 1);
  CHECK_FAILS(other_dim.append_from(bytes, {0}, 1), "same settings");
  CHECK_FAILS(other_codec.append_from(bytes, {0}, 1), "same settings");
  CHECK_FAILS(MultiVectorIndex(kDim, "int8").share_training(bytes), "not trained");

  MultiVectorIndex one(kDim, "residual2"), two(kDim, "residual2"), none(kDim, "residual2");
  add(one, 100, 0, 1);
  add(two, 100, 100, 2);
  CHECK_FAILS(one.share_training(two), "another one");
  CHECK_FAILS(one.append_from(two, {0, 1}, 1), "same settings and training");
  CHECK_FAILS(one.share_training(none), "not trained");
  none.share_training(one);
  add(none, 100, 0, 1);
  CHECK(same_rows<uint8_t>(none, one, "codes"));
  MultiVectorIndex opened(kDim, "residual2");
  opened.restore(saved(one));
  opened.share_training(one);  // the same, in other memory
  opened.append_from(none, {}, 1);
  CHECK(opened.size() == 100);
}

TEST(two_indexes_take_from_each_other) {
  MultiVectorIndex one(kDim, "residual2"), two(kDim, "residual2");
  add(one, 100, 0, 1);
  two.share_training(one);
  const auto take = [](MultiVectorIndex& to, const MultiVectorIndex& from) {
    for (int i = 0; i < 2000; ++i) {
      to.share_training(from);
      to.append_from(from, {}, 1);
    }
  };
  std::thread other([&] { take(one, two); });
  take(two, one);
  other.join();
  CHECK(one.size() == 100 && two.size() == 0);
}
