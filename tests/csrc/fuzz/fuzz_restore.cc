// Indexes from any saved state: refused, or they search, give back, take more and are saved again.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "core/random.h"
#include "fuzz.h"
#include "restore_case.h"

using namespace tercet;
using namespace fuzz;

namespace {

void check(const Results& hits, size_t queries, size_t k, const Ids& ids) {
  REQUIRE(hits.k == k && hits.filled.size() == queries && hits.scores.size() == queries * k);
  std::visit(
      [&]<class Id>(const std::vector<Id>& found) {
        REQUIRE(found.size() == queries * k);
        const auto* const all = std::get_if<std::vector<Id>>(&ids);
        for (size_t q = 0; q < queries; ++q) {
          const size_t n = hits.filled[q];
          REQUIRE(n <= k && n <= count_of(ids));
          for (size_t i = 0; i < n; ++i) {
            const float score = hits.scores[q * k + i];
            REQUIRE(!std::isnan(score));
            REQUIRE(i == 0 || hits.scores[q * k + i - 1] >= score);
            REQUIRE(all && std::find(all->begin(), all->end(), found[q * k + i]) != all->end());
            const auto begin = found.begin() + static_cast<long>(q * k);
            REQUIRE(std::count(begin, begin + static_cast<long>(n), found[q * k + i]) == 1);
          }
        }
      },
      hits.ids);
}

Ids first_of(const Ids& ids, size_t n) {
  return std::visit(
      [&](const auto& all) {
        return Ids(std::decay_t<decltype(all)>(all.begin(), all.begin() + static_cast<long>(n)));
      },
      ids);
}

// Of what add() gets no ids where the index numbers on.
std::optional<Ids> new_ids(const Case& c) {
  if (!c.strings) return {};
  StringIds names;
  for (size_t i = 0; i < c.added; ++i) names.push_back("new" + std::to_string(i));
  return Ids(names);
}

// Restores with a look at the payload, or without: then it is looked at when it is first needed.
template <class Index>
void restore_as(const Case& c, Index& index) {
  c.lazy ? index.restore(c.file()) : restore(index, c.file());
}

// Search, get, add and remove: `search(filters)` gives Results, `add()` adds, `make(file)` restores.
template <class Index, class Search, class Add, class Make>
void use(Index& index, const Case& c, Search search, Add add, Make make) {
  // Only a payload that nobody has looked at is a reason to fail.
  const auto must = [&](auto f) { REQUIRE(fuzz::attempt(f) || c.lazy); };
  const auto masked = std::make_unique<bool[]>(c.texts + 1);
  for (size_t i = 0; i < c.texts; ++i) masked[i] = i % 3 != 0;
  const auto look = [&] {
    fuzz::attempt([&] {
      Filters filters;
      if (c.filter == 1) filters.emplace_back(first_of(index.ids(), index.size() / 2));
      if (c.filter == 2) filters.emplace_back(Mask{reinterpret_cast<const uint8_t*>(masked.get()), c.texts});
      if (c.filter == 3) filters.assign(c.num_queries, std::monostate());
      check(search(filters), c.num_queries, c.k, index.ids());
      fuzz::happened(200u + c.codec * 64u + c.metric * 16u + c.rescore * 8u + c.filter * 2u + c.exact);
    });
    must([&] { index.get(index.ids()); });
  };
  if (c.lazy) must([&] { index.remove(first_of(index.ids(), index.size() * 3 / 4)); });
  look();
  must([&] { make(saved(index)); });
  const size_t before = index.size();
  if (fuzz::attempt(add)) {
    REQUIRE(index.size() <= before + c.added);
    fuzz::happened(900u + c.codec * 4u + c.kind);
  }
  look();
  must([&] { index.remove(first_of(index.ids(), (index.size() + 1) / 2)); });
  REQUIRE(index.bytes() < (size_t{1} << 30));
  look();
  must([&] { make(saved(index)); });
}

void run_flat(const Case& c) {
  FlatIndex index = c.empty_flat();
  if (!fuzz::attempt([&] { restore_as(c, index); })) return;
  REQUIRE(index.size() == c.texts || count_of(c.ids()) != c.texts);
  use(
      index, c,
      [&](const Filters& filters) {
        return index.search(c.queries.data(), c.num_queries, c.k, filters, c.exact, 1);
      },
      [&] { index.add(c.more.data(), c.dim, c.added, new_ids(c), 1); },
      [&](const std::shared_ptr<Container>& file) {
        FlatIndex again = c.empty_flat();
        restore(again, file);
        REQUIRE(again.ids() == index.ids());
      });
}

// A query has one token: its best score with those of a text is what the search said.
void explain(const MultiVectorIndex& index, const Case& c, const Results& hits) {
  for (size_t q = 0; q < c.num_queries; ++q) {
    const Ids ids = std::visit(
        [&](const auto& all) {
          const auto begin = all.begin() + static_cast<long>(q * hits.k);
          return Ids(std::decay_t<decltype(all)>(begin, begin + hits.filled[q]));
        },
        hits.ids);
    const auto why = index.token_scores(c.queries.data() + q * c.dim, 1, ids, 1);
    REQUIRE(why.offsets.size() == hits.filled[q] + 1u);
    for (size_t i = 0; i < hits.filled[q]; ++i) {
      float best = -std::numeric_limits<float>::infinity();
      for (auto t = why.offsets[i]; t < why.offsets[i + 1]; ++t) {
        best = std::max(best, why.scores[static_cast<size_t>(t)]);
      }
      REQUIRE(best == hits.scores[q * hits.k + i]);
    }
  }
}

void run_multivector(const Case& c) {
  MultiVectorIndex index(c.dim, c.codec_name());
  if (!fuzz::attempt([&] { restore_as(c, index); })) return;
  std::vector<size_t> query_offsets, more_offsets;  // queries of one token, texts of which the first has none
  for (size_t i = 0; i <= c.num_queries; ++i) query_offsets.push_back(i);
  for (size_t i = 0; i <= c.added; ++i) more_offsets.push_back(i ? i - 1 : 0);
  more_offsets.back() = c.added;
  use(
      index, c,
      [&](const Filters& filters) {
        const Results hits = index.search({c.queries.data(), c.dim, query_offsets}, c.k, filters,
                                          {c.candidates, c.exact != 0}, 1);
        explain(index, c, hits);
        if (c.listed)
          fuzz::happened(1000u + c.codec * 8u + (c.unlisted.empty() ? 0 : 4) + c.lazy * 2u +
                         (c.candidates == 0));
        return hits;
      },
      [&] { index.add({c.more.data(), c.dim, more_offsets}, new_ids(c), 1); },
      [&](const std::shared_ptr<Container>& file) {
        MultiVectorIndex again(c.dim, c.codec_name());
        restore(again, file);
        REQUIRE(again.ids() == index.ids() && again.num_tokens() == index.num_tokens());
      });
}

void run_hnsw(const Case& c) {
  HNSWIndex index = c.empty_hnsw(c.codec_name());
  if (!fuzz::attempt([&] { restore_as(c, index); })) return;
  use(
      index, c,
      [&](const Filters& filters) {
        return index.search(c.queries.data(), c.num_queries, c.k, filters, c.k, c.exact, 1);
      },
      [&] { index.add(c.more.data(), c.dim, c.added, new_ids(c), 1); },
      [&](const std::shared_ptr<Container>& file) {
        HNSWIndex again = c.empty_hnsw(index.codec());  // it may have left its codes
        restore(again, file);
        REQUIRE(again.ids() == index.ids() && again.removed() == index.removed());
      });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Reader reader(data, size);
  Case c;
  describe(reader, c);
  c.queries.resize(c.num_queries * c.dim);
  c.more.resize(c.added * c.dim);
  (c.kind == kMultiVector ? run_multivector : c.kind == kHNSW ? run_hnsw : run_flat)(c);
  return 0;
}

namespace {

// Lists that no index saves, and that chance seldom makes.
void damage_lists(Case& c, int how) {
  if (how == 0) {
    c.list_gaps.back() = static_cast<uint8_t>(c.texts);
  } else if (how == 1) {  // in a list, and in none
    c.unlisted.push_back(c.list_gaps.front());
    c.num_unlisted = c.unlisted.size();
    c.k = 10, c.candidates = 10, c.filter = 0;  // so that both are looked at
  } else if (how == 2) {
    std::swap(c.list_offsets.front(), c.list_offsets.back());
  } else {  // of no texts
    c.texts = 0;
    c.offsets = {0};
    c.list_offsets.assign(c.list_offsets.size(), 0);
    c.num_unlisted = 0;
    c.ints.clear(), c.names.clear(), c.unlisted.clear(), c.list_gaps.clear();
    c.centroids.clear(), c.scales.clear(), c.codes.clear();
  }
}

}  // namespace

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<Bytes> all;
  uint64_t state = 4;
  const auto values = [&](size_t n) {
    std::vector<float> v(n);
    for (float& x : v) x = static_cast<float>(static_cast<int32_t>(split_mix(state))) * 0x1p-31f;
    return v;
  };
  for (int i = 0; i < 240; ++i) {
    Case c;
    c.kind = static_cast<uint8_t>(i % 3);
    c.codec = static_cast<uint8_t>(i / 3 % (c.kind == kMultiVector ? 9 : 6));
    c.metric = static_cast<uint8_t>(i / 12 % 3);
    c.rescore = i / 24 % 2;
    c.strings = i / 5 % 2;
    c.exact = c.rescore && i / 3 % 2;
    c.filter = i / 7 % 4;
    c.lazy = i / 6 % 2;
    c.candidates = i / 12 % 5 * 2;
    constexpr uint32_t kDims[] = {1, 3, 8, 33, 65};
    c.dim = kDims[i % 5];
    c.texts = i % 11 ? 1 + random_below(state, 25) : 0;
    c.k = 1 + random_below(state, 30);
    c.num_queries = 1 + random_below(state, 4);
    c.added = 1 + random_below(state, 3);
    c.queries = values(c.num_queries * c.dim);
    c.more = values(c.added * c.dim);
    for (size_t t = 0; t < c.texts; ++t) {
      c.ints.push_back(static_cast<int64_t>(t * 7));
      c.names.push_back("t" + std::to_string(t));
    }
    const std::vector<float> rows = values(c.texts * 9 * c.dim);
    if (c.kind == kMultiVector) {
      MultiVectorIndex index(c.dim, c.codec_name());
      std::vector<size_t> offsets{0};
      for (size_t t = 0; t < c.texts; ++t) offsets.push_back(offsets.back() + random_below(state, 9));
      // Lists come with 16 tokens a centroid; the last text is too short to be listed.
      const bool trained = i % 2;
      if (trained) {
        const std::vector<float> sample = values(24 * c.dim);
        index.train({sample.data(), c.dim, {0, 24}}, 1 + random_below(state, 5), 2, 1);
      }
      if (c.texts) index.add({rows.data(), c.dim, offsets}, c.ids(), 1);
      if (c.texts && trained) {
        index.add({rows.data(), c.dim, {0, 1}}, c.strings ? Ids(StringIds{"last"}) : Ids(IntIds{1000}), 1);
        c.ints.push_back(1000);
        c.names.push_back("last");
        ++c.texts;
      }
      c.take(*saved(index));
      c.num_lists = trained ? std::max(c.list_scales.size(), c.codebook_scales.size()) : 0;
      c.list_clusters = c.list_codebook_offsets.empty() ? 0 : c.list_codebook_offsets.size() - 1;
      c.listed = !c.list_offsets.empty();
      c.num_unlisted = c.unlisted.size();
      c.num_centroids = c.codebook_scales.size();
      c.clusters = c.codebook_offsets.empty() ? 0 : c.codebook_offsets.size() - 1;
    } else if (c.kind == kHNSW) {
      HNSWIndex index = c.empty_hnsw(c.codec_name());
      if (c.texts) {
        index.add(rows.data(), c.dim, c.texts, c.ids(), 1);
        index.add(rows.data(), c.dim, c.texts, c.ids(), 1);  // the first nodes are removed
        if (i % 2) index.add(rows.data(), c.dim, c.texts, c.ids(), 1);
      }
      if (index.codec() != c.codec_name()) c.codec = 0;  // it has left its codes
      c.take(*saved(index));
      c.num_removed = c.removed.size();
      c.num_free = c.free.size();
    } else {
      FlatIndex index = c.empty_flat();
      if (c.texts) index.add(rows.data(), c.dim, c.texts, c.ids(), 1);
      c.take(*saved(index));
    }
    const auto write = [&] {
      Writer writer;
      describe(writer, c);
      all.push_back(writer.out);
    };
    write();
    if (!c.list_gaps.empty()) {
      damage_lists(c, i / 12 % 4);
      write();
    }
  }
  return all;
}
