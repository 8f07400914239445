// MultiVectorIndex: late interaction over token vectors, scored by exact MaxSim over what is stored.
#pragma once
#include <optional>
#include <string>

#include "core/shared_lock.h"
#include "index/code_store.h"
#include "index/opened.h"
#include "index/scan.h"
#include "index/search.h"

namespace tercet {

// Token vectors of several texts: text i owns rows [offsets[i], offsets[i + 1]).
struct TokenRows {
  const float* values;
  size_t stride;
  std::vector<size_t> offsets;
  size_t count() const { return offsets.size() - 1; }
};

// Thread-safe as FlatIndex is.
class MultiVectorIndex {
 public:
  // Beside the names of codecs those of residuals, which store the difference from a centroid: "residual2"
  // and "residual1" (int2 and binary codes) and "pq16".
  MultiVectorIndex(uint32_t dim, const std::string& codec, uint64_t seed = 0);

  // Trains the codebook of a residual codec, of an index that has none yet; centroids 0: as many as fit the
  // number of tokens. Otherwise the first add() does, on what it adds.
  void train(const TokenRows& tokens, size_t centroids, int iterations, size_t threads);
  size_t num_centroids() const;

  Ids add(const TokenRows& tokens, std::optional<Ids> ids, size_t threads);
  void remove(const Ids& ids);
  Results search(const TokenRows& queries, size_t k, const Filters& filters, size_t threads) const;

  struct Tokens {
    std::vector<float> values;  // [total, dim]
    std::vector<int64_t> offsets;
  };
  Tokens get(const Ids& ids) const;

  // Of a query's tokens with those of texts, one text after the other: token t has scores
  // [t * offsets.back(), ...), of which those with text i are [offsets[i], offsets[i + 1]).
  struct TokenScores {
    std::vector<float> scores;
    std::vector<int64_t> offsets;
  };
  TokenScores token_scores(const float* query, size_t tokens, const Ids& ids, size_t threads) const;

  bool contains(const Ids& one) const;
  Ids ids() const;
  size_t size() const;
  size_t num_tokens() const;  // of the texts that are there
  size_t bytes() const;
  uint32_t dim() const { return store_.dim(); }

  // As those of FlatIndex.
  void save(const SaveTo& to) const;
  void restore(std::shared_ptr<const Container> file);
  void verify() const;

 private:
  MultiVectorIndex(std::unique_ptr<Codec> residual, const std::string& codec, uint32_t dim, uint64_t seed);
  void train_on(const TokenRows& tokens, size_t centroids, int iterations, size_t threads);

  float limit() const;  // the largest magnitude that vectors and queries may have

  // Rows of removed texts stay where they are until they outweigh the living, then all move up.
  void compact_if_worth_it();

  bool residual_;
  uint64_t seed_;
  CodeStore store_;
  std::vector<TokenSpan> spans_;  // by slot
  size_t living_rows_ = 0;
  IdTable ids_;
  Opened opened_;
  mutable SharedLock mutex_;
};

}  // namespace tercet
