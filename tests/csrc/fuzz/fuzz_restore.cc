// Indexes from any saved state: refused, or they search, give back, take more and are saved again.
#include <algorithm>
#include <cmath>
#include <memory>

#include "core/random.h"
#include "fuzz.h"
#include "index/flat.h"
#include "index/hnsw/hnsw.h"
#include "index/multivector.h"
#include "saved.h"

using namespace tercet;

namespace {

enum Kind : uint8_t { kFlat, kMultiVector, kHNSW };
constexpr uint32_t kM = 4,
                   kUpperShift = 4;  // neighbours of a graph, and which of its nodes are in the upper layer
constexpr const char* kCodecs[] = {"float32", "bfloat16",  "int8",      "int4", "int2",
                                   "binary",  "residual2", "residual1", "pq16"};

struct Case {
  uint32_t dim = 1;
  uint8_t kind = kFlat, codec = 0, metric = 0, rescore = 0, strings = 0, exact = 0, filter = 0, listed = 0;
  size_t texts = 0, nodes = 0, num_removed = 0, num_free = 0, num_centroids = 0, clusters = 0, num_lists = 0,
         list_clusters = 0, num_unlisted = 0, k = 1, num_queries = 1, added = 1;
  IntIds ints;
  StringIds names;
  int64_t next_id = 0;
  std::vector<int64_t> offsets;
  std::vector<uint8_t> codes, codebook_codes;
  std::vector<uint16_t> scales, centroids, codebook_scales;
  std::vector<uint32_t> codebook_offsets;
  std::vector<uint8_t> list_codes, list_given,
      list_gaps;  // lists, and where the codec has no codebook theirs
  std::vector<uint16_t> list_scales;
  std::vector<uint32_t> list_codebook_offsets, unlisted;
  std::vector<int64_t> list_offsets;
  std::vector<uint32_t> node_of, removed, free, base_rows, base_parents, base_root, upper_rows, upper_parents,
      upper_root;
  std::vector<float> codec_parameters, originals, errors, lengths, bias, queries, more;

  bool residual() const { return codec >= 6; }
  std::string codec_name() const {
    return kCodecs[kind == kMultiVector ? codec : kind == kHNSW ? codec % 2 * 2 : codec % 6];
  }
  bool has_bias() const {
    return kind != kMultiVector && metric == static_cast<uint8_t>(Metric::l2) && codec_name() != "float32";
  }
  // What rows are encoded as.
  std::unique_ptr<Codec> row_codec() const {
    auto codec = make_residual_codec(codec_name(), dim, 0);
    return codec ? std::move(codec) : make_codec(codec_name(), dim, 0);
  }
  Ids ids() const { return strings ? Ids(names) : Ids(ints); }
  FlatIndex empty_flat() const {
    return FlatIndex(dim, static_cast<Metric>(metric), codec_name(), 0, rescore);
  }
  HNSWIndex empty_hnsw(const std::string& name) const {
    return HNSWIndex(dim, static_cast<Metric>(metric), name, {kM, 20}, rescore);
  }
  bool has_codes() const { return kind != kHNSW || codec_name() != "float32"; }
  bool has_originals() const { return kind == kHNSW ? rescore || !has_codes() : kind == kFlat && rescore; }

  // All arrays but ids, by name: f(name, array).
  template <class Self, class F>
  static void arrays(Self& c, F f) {
    f("offsets", c.offsets);
    f("codes", c.codes);
    f("scales", c.scales);
    f("centroids", c.centroids);
    f("codebook_codes", c.codebook_codes);
    f("codebook_scales", c.codebook_scales);
    f("codebook_offsets", c.codebook_offsets);
    f("codec_parameters", c.codec_parameters);
    f("list_codebook_codes", c.list_codes);
    f("list_codebook_scales", c.list_scales);
    f("list_codebook_offsets", c.list_codebook_offsets);
    f("list_codebook_given", c.list_given);
    f("list_offsets", c.list_offsets);
    f("list_gaps", c.list_gaps);
    f("unlisted", c.unlisted);
    f("originals", c.originals);
    f("original_errors", c.errors);
    f("original_lengths", c.lengths);
    f("bias", c.bias);
    f("node_of", c.node_of);
    f("removed", c.removed);
    f("free", c.free);
    f("base_rows", c.base_rows);
    f("base_parents", c.base_parents);
    f("base_root", c.base_root);
    f("upper_rows", c.upper_rows);
    f("upper_parents", c.upper_parents);
    f("upper_root", c.upper_root);
  }
  std::shared_ptr<Container> file() const {
    Sections out;
    if (strings) {
      std::vector<uint8_t> bytes;
      std::vector<int64_t> ends{0};
      for (const std::string& name : names) {
        bytes.insert(bytes.end(), name.begin(), name.end());
        ends.push_back(static_cast<int64_t>(bytes.size()));
      }
      out.own("id_bytes", bytes);
      out.own("id_offsets", ends);
    } else {
      out.own("ids", ints);
    }
    out.own("next_id", std::vector<int64_t>{next_id});
    arrays(*this, [&](const char* name, const auto& values) { out.own(name, values); });
    return file_of(out);
  }
  void take(const Container& file) {
    next_id = array_of<int64_t>(file, "next_id")[0];
    arrays(*this,
           [&]<class T>(const char* name, std::vector<T>& values) { values = array_of<T>(file, name); });
  }
};

template <class Archive>
void describe(Archive& a, Case& c) {
  a.bounded(c.dim, 1, 130);
  a.bounded(c.kind, 0, 2);
  a.bounded(c.codec, 0, 8);
  a.bounded(c.metric, 0, 2);
  a.bounded(c.rescore, 0, 1);
  a.bounded(c.strings, 0, 1);
  a.bounded(c.exact, 0, 1);
  a.bounded(c.filter, 0, 3);
  a.bounded(c.k, 1, 40);
  a.bounded(c.num_queries, 1, 5);
  a.bounded(c.added, 1, 4);
  a.bounded(c.texts, 0, 30);
  a.bounded(c.num_centroids, 0, 200);
  a.bounded(c.clusters, 0, 80);
  a.value(c.next_id);
  if (c.strings) {
    for (c.names.resize(c.texts); auto& name : c.names) {
      size_t length = name.size();
      a.bounded(length, 0, 4);
      for (name.resize(length); char& x : name) a.value(x);
    }
  } else {
    a.array(c.ints, c.texts);
  }
  a.array(c.queries, c.num_queries * c.dim);
  a.array(c.more, c.added * c.dim);
  size_t rows = c.texts;
  if (c.kind == kHNSW) {
    a.bounded(c.num_removed, 0, 30);
    a.bounded(c.num_free, 0, 30);
    rows = c.texts + c.num_removed + c.num_free;
    const size_t upper = (rows + (1u << kUpperShift) - 1) >> kUpperShift;
    a.array(c.node_of, c.texts);
    a.array(c.removed, c.num_removed);
    a.array(c.free, c.num_free);
    a.array(c.base_rows, rows * 2 * kM);
    a.array(c.base_parents, rows);
    a.array(c.base_root, 1);
    a.array(c.upper_rows, upper * 2 * kM);
    a.array(c.upper_parents, upper);
    a.array(c.upper_root, 1);
  }
  if (c.kind == kMultiVector) {
    a.array(c.offsets, c.texts + 1);
    rows = c.offsets.empty() ? 0 : static_cast<size_t>(c.offsets.back());
    if (c.residual()) {
      a.array(c.centroids, rows);
      a.array(c.codebook_offsets, c.clusters + 1);
      a.array(c.codebook_scales, c.num_centroids);
      a.array(c.codebook_codes, c.num_centroids * c.dim);
      a.array(c.codec_parameters, c.codec_name() == "pq16" ? kProductEntries * c.dim : 0);
    } else {
      a.bounded(c.num_lists, 0, 200);
      a.bounded(c.list_clusters, 0, 80);
      a.array(c.list_codebook_offsets, c.num_lists ? c.list_clusters + 1 : 0);
      a.array(c.list_scales, c.num_lists);
      a.array(c.list_codes, c.num_lists * c.dim);
      a.array(c.list_given, c.num_lists ? 1 : 0);
    }
    a.bounded(c.listed, 0, 1);
    a.bounded(c.num_unlisted, 0, 30);
    a.array(c.list_offsets, c.listed ? (c.residual() ? c.num_centroids : c.num_lists) + 1 : 0);
    a.array(c.list_gaps, c.list_offsets.empty() ? 0 : static_cast<size_t>(c.list_offsets.back()));
    a.array(c.unlisted, c.listed ? c.num_unlisted : 0);
  }
  const auto codec = c.row_codec();
  a.array(c.scales, codec->has_scales() ? rows : 0);
  a.array(c.codes, c.has_codes() ? rows * codec->row_bytes(c.dim) : 0);
  a.array(c.originals, c.has_originals() ? rows * c.dim : 0);
  a.array(c.errors, c.rescore && c.kind == kFlat ? rows : 0);
  a.array(c.lengths, c.rescore && c.kind == kFlat ? rows : 0);
  a.array(c.bias, c.has_bias() ? rows : 0);
}

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

// Search, get, add and remove: `search(filters)` gives Results, `add()` adds, `make(file)` restores.
template <class Index, class Search, class Add, class Make>
void use(Index& index, const Case& c, Search search, Add add, Make make) {
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
    index.get(index.ids());
  };
  look();
  make(saved(index));
  const size_t before = index.size();
  if (fuzz::attempt(add)) {
    REQUIRE(index.size() <= before + c.added);
    fuzz::happened(900u + c.codec * 4u + c.kind);
  }
  look();
  index.remove(first_of(index.ids(), (index.size() + 1) / 2));
  REQUIRE(index.bytes() < (size_t{1} << 30));
  look();
  make(saved(index));
}

void run_flat(const Case& c) {
  FlatIndex index = c.empty_flat();
  if (!fuzz::attempt([&] { restore(index, c.file()); })) return;
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

void run_multivector(const Case& c) {
  MultiVectorIndex index(c.dim, c.codec_name());
  if (!fuzz::attempt([&] { restore(index, c.file()); })) return;
  std::vector<size_t> query_offsets, more_offsets;  // queries of one token, texts of which the first has none
  for (size_t i = 0; i <= c.num_queries; ++i) query_offsets.push_back(i);
  for (size_t i = 0; i <= c.added; ++i) more_offsets.push_back(i ? i - 1 : 0);
  more_offsets.back() = c.added;
  use(
      index, c,
      [&](const Filters& filters) {
        return index.search({c.queries.data(), c.dim, query_offsets}, c.k, filters, {c.k, c.exact != 0}, 1);
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
  if (!fuzz::attempt([&] { restore(index, c.file()); })) return;
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
      if (offsets.back() && i % 2) index.train({rows.data(), c.dim, {0, offsets.back()}}, 3, 2, 1);
      if (c.texts) index.add({rows.data(), c.dim, offsets}, c.ids(), 1);
      if (c.texts && i % 4 == 1) index.add({rows.data(), c.dim, {0, 1}}, first_of(c.ids(), 1), 1);
      c.take(*saved(index));
      c.num_lists = c.list_scales.size();
      c.list_clusters = c.num_lists ? c.list_codebook_offsets.size() - 1 : 0;
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
    Writer writer;
    describe(writer, c);
    all.push_back(writer.out);
  }
  return all;
}
