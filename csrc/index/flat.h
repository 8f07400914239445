// FlatIndex: exact search over single vectors.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/shared_lock.h"
#include "index/code_store.h"
#include "index/opened.h"
#include "index/originals.h"
#include "index/scan.h"
#include "index/search.h"

namespace tercet {

// Thread-safe: searches run concurrently, changes wait for them and exclude each other.
class FlatIndex {
 public:
  // `rescore`: the float32 vectors are kept beside the codes, and scores are theirs.
  FlatIndex(uint32_t dim, Metric metric, const std::string& codec, uint64_t seed, bool rescore);

  // Encodes `count` rows under `ids` (null: numbered on), replacing ids that are there. All or nothing.
  Ids add(const float* vectors, size_t stride, size_t count, std::optional<Ids> ids, size_t threads);
  void remove(const Ids& ids);
  // Without originals, the best by the scores of the codes. With them, the best of the kRescored k that rank
  // best by their codes; or, if `exact`, and where codes turn out not to tell vectors apart, the best of all,
  // which bounds of the codes' errors prove.
  Results search(const float* queries, size_t count, size_t k, const Filters& filters, bool exact,
                 size_t threads) const;
  // Rows of ids, [count, dim]: the originals, or what their codes stand for.
  std::vector<float> get(const Ids& ids) const;

  bool contains(const Ids& one) const;
  Ids ids() const;
  size_t size() const;
  size_t bytes() const;
  uint32_t dim() const { return store_.dim(); }
  float limit() const;  // the largest magnitude that vectors and queries may have
  Metric metric() const { return metric_; }
  const char* codec() const { return store_.codec().name(); }
  // Queries that rescored, and rows they rescored, since the index was made.
  uint64_t searched() const { return searched_; }
  uint64_t rescored() const { return rescored_; }

  void save(const SaveTo& to) const;
  // Into an index without vectors. Throws Error for what no index with these settings saves.
  void restore(std::shared_ptr<const Container> file);
  // Throws Error if the file that the index was opened from is damaged; nothing once the index has changed.
  void verify() const;

 private:
  static constexpr size_t kRescored = 4, kFewest = 16;  // kRescored max(k, kFewest) of them

  // Distances of float32 vectors are computed from differences: <2 q, x> - |x|^2 - |q|^2 cancels where
  // vectors are far from the origin and close to each other. Codes are coarser than that, and take the
  // products.
  bool has_bias() const { return metric_ == Metric::l2 && store_.codec().format() != Format::float32; }
  Format float_format() const { return metric_ == Metric::l2 ? Format::float32_l2 : Format::float32; }

  using Hits = std::vector<std::vector<Candidate>>;
  // Prepared queries against `rows` (all, or a list).
  Hits scan(const float* queries, size_t count, size_t k, const ScanRows& rows, bool exact,
            size_t threads) const;
  // The best k of all by the originals.
  Hits prove(const float* queries, size_t count, size_t k, const ScanRows& rows, size_t threads) const;
  // The best k by the originals of what ranks best by codes.
  Hits guess(const float* queries, size_t count, size_t k, const ScanRows& rows, size_t threads) const;
  // Queries for rows of codes.
  std::vector<float> doubled(const float* queries, size_t count) const;
  // How many of the queries from the first on are to be proven at once: the bounds of all are those of the
  // longest, where that counts.
  size_t similar(const float* queries, size_t count) const;
  // For each query the rows that bounds of their scores cannot rule out, by falling upper bounds.
  Hits contenders(const float* queries, size_t count, size_t k, const ScanRows& rows, size_t threads) const;
  // Queries for rows of float32.
  PackedQueries bind_float32(const float* queries, size_t count) const;
  // The best k of some rows by the originals.
  std::vector<Candidate> rescore(const PackedQueries& query, std::vector<uint32_t> rows, size_t k) const;
  // The best k of the contenders of one query by the originals.
  std::vector<Candidate> prove(const float* query, const std::vector<Candidate>& contenders, size_t k) const;

  void encode(size_t slot, const float* vector, float* scratch) noexcept;
  void bias_of(size_t slot, const float* vector) noexcept;

  Metric metric_;
  CodeStore store_;
  std::unique_ptr<Originals> originals_;  // null: no rescoring
  std::vector<float>
      bias_;  // by slot: -|x|^2 of the originals, else of what the codes stand for; see has_bias()
  mutable std::atomic<uint64_t> searched_{0}, rescored_{0};
  IdTable ids_;
  Opened opened_;
  mutable SharedLock mutex_;
};

}  // namespace tercet
