// Inverted lists under sanitizers: random changes, and files whose lists no index has saved.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "check.h"
#include "core/error.h"
#include "index/multivector.h"
#include "saved.h"

using namespace tercet;

namespace {

constexpr uint32_t kDim = 6;
constexpr size_t kTokens = 3, kCentroids = 2 * kDim;

// Of texts [first, first + count), kTokens for each; a text has the same ones whenever it is made. They are
// of few kinds, as lists need it, and of length 1, so that nothing is as good as the text itself.
std::vector<float> tokens(int64_t first, size_t count) {
  std::vector<float> values;
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < count; ++i) {
    std::mt19937 random(static_cast<unsigned>(first) + static_cast<unsigned>(i));
    for (size_t t = 0; t < kTokens; ++t) {
      float row[kDim] = {}, square = 0;
      const size_t kind = random() % (2 * kDim);
      row[kind / 2] = kind % 2 ? 4 : -4;
      for (float& x : row) x += normal(random), square += x * x;
      for (const float x : row) values.push_back(x / std::sqrt(square));
    }
  }
  return values;
}

std::vector<size_t> offsets(size_t texts) {
  std::vector<size_t> all(texts + 1);
  for (size_t i = 0; i <= texts; ++i) all[i] = i * kTokens;
  return all;
}

IntIds numbers(int64_t first, size_t count) {
  IntIds ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

void add(MultiVectorIndex& index, int64_t first, size_t count) {
  const std::vector<float> values = tokens(first, count);
  index.add({values.data(), kDim, offsets(count)}, Ids(numbers(first, count)), 2);
}

// The texts 0 to count - 1, in lists but for the last.
MultiVectorIndex& fill(MultiVectorIndex& index, size_t count) {
  const std::vector<float> sample = tokens(5000, 100);
  index.train({sample.data(), kDim, {0, sample.size() / kDim}}, kCentroids, 3, 1);
  add(index, 0, count - 1);
  add(index, static_cast<int64_t>(count) - 1, 1);
  return index;
}

Results best(const MultiVectorIndex& index, int64_t text, size_t k, size_t candidates) {
  const std::vector<float> query = tokens(text, 1);
  return index.search({query.data(), kDim, {0, kTokens}}, k, {}, {candidates, false}, 1);
}

// The texts of the list that `gaps` are.
std::vector<uint32_t> decoded(const uint8_t* gaps, const uint8_t* end) {
  std::vector<uint32_t> texts;
  for (uint32_t number = 0; gaps < end; texts.push_back(number)) {
    int shift = 0;
    for (bool more = true; more; shift += 7) {
      more = *gaps >= 0x80;
      number += static_cast<uint32_t>(*gaps++ & 0x7f) << shift;
    }
  }
  return texts;
}

constexpr const char* kCodecs[] = {"float32", "int8", "residual2"};

}  // namespace

TEST(lists_follow_the_texts) {
  for (const char* codec : kCodecs) {
    MultiVectorIndex index(kDim, codec);
    fill(index, 150);
    std::set<int64_t> there;
    for (int64_t i = 0; i < 150; ++i) there.insert(i);
    std::mt19937 random(1);
    int looked_for = 0, missed = 0;
    for (int turn = 0; turn < 60; ++turn) {
      const auto first = static_cast<int64_t>(random() % 400);
      const size_t count = 1 + random() % (turn % 5 ? 4 : 120);
      if (turn % 2) {
        add(index, first, count);  // some of them replaced by the same
        for (size_t i = 0; i < count; ++i) there.insert(first + static_cast<int64_t>(i));
      } else {
        IntIds gone;
        for (const int64_t id : numbers(first, count)) {
          if (there.size() > 20 && there.erase(id)) gone.push_back(id);
        }
        index.remove(Ids(gone));
      }
      if (turn % 7 == 6) index.restore(saved(index));
      CHECK(index.size() == there.size());
      for (const int64_t id : there) {
        if (id % 5) continue;
        const Results hits = best(index, id, 3, 18);
        const auto& found = std::get<IntIds>(hits.ids);
        CHECK(hits.filled[0] == 3 && std::set<int64_t>(found.begin(), found.end()).size() == 3);
        for (const int64_t one : found) CHECK(there.count(one));
        ++looked_for;
        missed += found[0] != id;
      }
    }
    CHECK(looked_for > 500 && missed * 20 < looked_for);
    CHECK(!array_of<int64_t>(*saved(index), "list_offsets").empty());
  }
}

// Nobody has looked at the lists of an opened file when it is removed from.
TEST(a_removal_does_not_walk_damaged_lists) {
  for (const char* codec : kCodecs) {
    MultiVectorIndex index(kDim, codec);
    auto gaps = array_of<uint8_t>(*saved(fill(index, 150)), "list_gaps");
    gaps.back() = 0x7f;
    MultiVectorIndex opened(kDim, codec);
    opened.restore(saved_with(index, "list_gaps", gaps));
    opened.remove(Ids(numbers(0, 120)));  // more dead than living: time to list anew
    CHECK(opened.size() == 30 && opened.contains(Ids(IntIds{140})) && !opened.contains(Ids(IntIds{7})));
    for (int i = 0; i < 2; ++i) CHECK_FAILS(best(opened, 140, 3, 18), "list_gaps: expected texts below 150");
    CHECK_FAILS(add(opened, 0, 1), "list_gaps");
  }
}

TEST(restore_refuses_lists_that_no_index_saves) {
  for (const char* codec : kCodecs) {
    MultiVectorIndex index(kDim, codec);
    const auto file = saved(fill(index, 150));
    const auto starts = array_of<int64_t>(*file, "list_offsets");
    const auto gaps = array_of<uint8_t>(*file, "list_gaps");
    CHECK(starts.size() == kCentroids + 1 &&
          array_of<uint32_t>(*file, "unlisted") == std::vector<uint32_t>{149});
    std::set<uint32_t> listed;
    for (size_t c = 0; c < kCentroids; ++c) {
      const std::vector<uint32_t> texts = decoded(gaps.data() + starts[c], gaps.data() + starts[c + 1]);
      CHECK(texts.size() > 1 && std::is_sorted(texts.begin(), texts.end()));
      CHECK(std::adjacent_find(texts.begin(), texts.end()) == texts.end());
      listed.insert(texts.begin(), texts.end());
    }
    CHECK(listed.size() == 149 && *listed.rbegin() == 148);
    const auto refused = [&]<class T>(const char* section, std::vector<T> values, const char* why) {
      MultiVectorIndex other(kDim, codec);
      CHECK_FAILS(restore(other, saved_with(index, section, std::move(values))), why);
    };
    auto changed = starts;
    changed[0] = 1;
    refused("list_offsets", changed, "list_offsets: expected to rise from 0");
    changed = starts;
    std::swap(changed[2], changed[3]);
    refused("list_offsets", changed, "list_offsets: expected to rise from 0");
    changed = starts;
    changed.back() += 1;
    refused("list_offsets", changed, "list_gaps: expected");
    changed.pop_back();
    refused("list_offsets", changed, "list_offsets: expected 13");
    refused("list_gaps", std::vector<uint8_t>(gaps.size(), 0x7f), "list_gaps: expected texts below 150");
    refused("list_gaps", std::vector<uint8_t>(gaps.size(), 0x80), "list_gaps: list 0 ends within a number");
    refused("list_gaps", std::vector<uint8_t>(gaps.size(), 0), "list_gaps: list 0 has text 0 twice");
    refused("unlisted", std::vector<uint32_t>{150}, "unlisted: text 150 of 150");
    refused("unlisted", std::vector<uint32_t>{149, 149}, "unlisted: text 149 of 150, or twice");
    refused("unlisted", std::vector<uint32_t>{149, 5}, "is unlisted too");
    if (std::string(codec) == "residual2") {
      Sections with;
      index.save([&](const Sections& sections) {
        for (const Section& section : sections.all()) with.add(section);
        with.own("list_codebook_offsets", std::vector<uint32_t>{0, 1});
        MultiVectorIndex other(kDim, codec);
        CHECK_FAILS(restore(other, file_of(with)), "list_codebook: this codec has its own");
      });
    } else {
      refused("list_codebook_given", std::vector<uint8_t>{}, "list_codebook_given");
      refused("list_codebook_offsets", std::vector<uint32_t>{}, "list_offsets: lists without a codebook");
      refused("list_codebook_scales", std::vector<uint16_t>(kCentroids - 1), "centroids: expected 11 rows");
    }
    // Without texts: their number would be divided by.
    index.remove(Ids(numbers(0, 150)));
    Sections empty;
    index.save([&](const Sections& sections) {
      for (const Section& section : sections.all()) empty.add(section);
      empty.own("list_offsets", std::vector<int64_t>(kCentroids + 1));
      MultiVectorIndex other(kDim, codec);
      CHECK_FAILS(restore(other, file_of(empty)), "list_offsets: lists of no texts");
    });
  }
}
