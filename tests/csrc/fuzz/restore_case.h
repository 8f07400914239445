// The state of an index as fuzz_restore reads it from an input: every section of every kind, with lengths
// that mostly agree.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "fuzz.h"
#include "index/flat.h"
#include "index/hnsw/hnsw.h"
#include "index/multivector.h"
#include "saved.h"

namespace fuzz {

using namespace tercet;

enum Kind : uint8_t { kFlat, kMultiVector, kHNSW };
constexpr uint32_t kM = 4,
                   kUpperShift = 4;  // neighbours of a graph, and which of its nodes are in the upper layer
constexpr const char* kCodecs[] = {"float32", "bfloat16",  "int8",      "int4", "int2",
                                   "binary",  "residual2", "residual1", "pq16"};

struct Case {
  uint32_t dim = 1;
  uint8_t kind = kFlat, codec = 0, metric = 0, rescore = 0, strings = 0, exact = 0, filter = 0, lazy = 0,
          listed = 0;
  size_t texts = 0, nodes = 0, num_removed = 0, num_free = 0, num_centroids = 0, clusters = 0, k = 1,
         num_queries = 1, added = 1, candidates = 0, num_lists = 0, list_clusters = 0, num_unlisted = 0;
  IntIds ints;
  StringIds names;
  int64_t next_id = 0;
  std::vector<int64_t> offsets;
  std::vector<uint8_t> codes, codebook_codes, list_codes, list_given, list_gaps;
  std::vector<uint16_t> scales, centroids, codebook_scales, list_scales;
  std::vector<uint32_t> codebook_offsets, list_codebook_offsets, unlisted;
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
  a.bounded(c.lazy, 0, 1);
  a.bounded(c.candidates, 0, 30);
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
    }
    a.bounded(c.num_lists, 0, 40);
    if (c.num_lists) {
      if (!c.residual()) {
        a.bounded(c.list_clusters, 0, 8);
        a.array(c.list_codebook_offsets, c.list_clusters + 1);
        a.array(c.list_scales, c.num_lists);
        a.array(c.list_codes, c.num_lists * c.dim);
        a.array(c.list_given, 1);
      }
      a.bounded(c.listed, 0, 1);
      a.bounded(c.num_unlisted, 0, 4);
      a.array(c.unlisted, c.listed ? c.num_unlisted : 0);
      a.array(c.list_offsets, c.listed ? c.num_lists + 1 : 0);
      a.array(c.list_gaps, c.list_offsets.empty() ? 0 : static_cast<size_t>(c.list_offsets.back()));
    }
  }
  const auto codec = c.row_codec();
  a.array(c.scales, codec->has_scales() ? rows : 0);
  a.array(c.codes, c.has_codes() ? rows * codec->row_bytes(c.dim) : 0);
  a.array(c.originals, c.has_originals() ? rows * c.dim : 0);
  a.array(c.errors, c.rescore && c.kind == kFlat ? rows : 0);
  a.array(c.lengths, c.rescore && c.kind == kFlat ? rows : 0);
  a.array(c.bias, c.has_bias() ? rows : 0);
}

}  // namespace fuzz
