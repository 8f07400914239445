// MultiVectorIndex: late interaction over token vectors, scored by exact MaxSim over what is stored.
#pragma once
#include <optional>
#include <string>

#include "core/shared_lock.h"
#include "index/code_store.h"
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

  bool contains(const Ids& one) const;
  Ids ids() const;
  size_t size() const;
  size_t num_tokens() const;  // of the texts that are there
  size_t bytes() const;
  uint32_t dim() const { return store_.dim(); }

  struct State {
    Ids ids;
    std::vector<int64_t> offsets;
    std::vector<uint8_t> codes;
    std::vector<uint16_t> scales;
    int64_t next_id;
    // of residuals: of each row, and the codebook
    std::vector<uint16_t> centroids;
    std::vector<uint8_t> codebook_codes;
    std::vector<uint16_t> codebook_scales;
    std::vector<uint32_t> codebook_offsets;
    std::vector<float> codec_parameters;  // what the codec learned, if it learns
  };
  State state() const;
  void restore(const State& state);

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
  mutable SharedLock mutex_;
};

}  // namespace tercet
