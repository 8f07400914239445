// MultiVectorIndex: late interaction over token vectors, scored by exact MaxSim over what is stored.
//
// A small index compares a query with every text. A large one has inverted lists of its tokens as well
// (token_lists.h), and compares with the texts that they name, and with those too new to be in them.
//
// Texts have slots (ids.h), which change when others are removed, and in the lists numbers, which do not.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/shared_lock.h"
#include "core/steps.h"
#include "index/code_store.h"
#include "index/opened.h"
#include "index/scan.h"
#include "index/search.h"
#include "index/token_lists.h"

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

  // Trains the codebook of a residual codec, and of the lists of any; of an index that has none yet;
  // centroids 0: as many as fit the number of tokens. Otherwise a residual codec is trained by the first
  // add(), on what it adds, and lists by the one that makes them worth it.
  // Counts in `steps`, if there are any, how far it is.
  void train(const TokenRows& tokens, size_t centroids, int iterations, size_t threads,
             Steps* steps = nullptr);
  size_t num_centroids() const;
  // More centroids for a residual codec that is trained, where texts like these are far from those it has;
  // centroids 0: as many as fit the number of tokens. What is stored stays as it is.
  void grow(const TokenRows& tokens, size_t centroids, int iterations, size_t threads);
  // Of a residual codec, how long what codes store is on average, to vectors of length 1.
  double mean_residual() const;

  Ids add(const TokenRows& tokens, std::optional<Ids> ids, size_t threads);
  void remove(const Ids& ids);
  struct Effort {
    size_t candidates = 0;  // how many texts are scored; 0: a default
    bool exact = false;     // all of them
  };
  // Always min(k, allowed) hits.
  Results search(const TokenRows& queries, size_t k, const Filters& filters, Effort effort,
                 size_t threads) const;

  struct Tokens {
    std::vector<float> values;  // [total, dim]
    std::vector<int64_t> offsets;
  };
  Tokens get(const Ids& ids) const;

  // For indexes that are parts of one (multivector_parts.cc): the slot of each id, -1 where it is not there;
  // how many tokens the text of each slot has.
  std::vector<int64_t> find(const Ids& ids) const;
  std::vector<int64_t> lengths() const;
  // Takes the training of another index of the same settings, and holds it in the same memory. Throws Error
  // if that is none, or this one has another.
  void share_training(const MultiVectorIndex& other);
  // Adds texts of another index, whose ids must be new, by copying what is stored. Its settings and training
  // must be those of this one, of which only what would read foreign memory is checked: codes of another
  // rotation look the same.
  void append_from(const MultiVectorIndex& other, const std::vector<uint32_t>& slots, size_t threads);

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
  size_t changes() const;     // how many texts were ever added, opened, replaced or removed
  // Of memory, what is stored takes, rows of removed texts included: codes, scales and numbers of centroids
  // of the rows, the codebook of codec or lists, lists, where the rows of texts are, ids and what finds them.
  struct Bytes {
    size_t codes, scales, centroids, codebook, lists, documents, ids;
    size_t total() const { return codes + scales + centroids + codebook + lists + documents + ids; }
  };
  Bytes bytes_by_part() const;
  size_t bytes() const { return bytes_by_part().total(); }
  uint32_t dim() const { return store_.dim(); }
  float limit() const;  // the largest magnitude that vectors and queries may have

  // As those of FlatIndex.
  void save(const SaveTo& to) const;
  void restore(std::shared_ptr<const Container> file);
  void verify() const;

 private:
  MultiVectorIndex(std::unique_ptr<Codec> residual, const std::string& codec, uint32_t dim, uint64_t seed);
  void train_on(const TokenRows& tokens, size_t centroids, int iterations, size_t threads, Steps* steps);

  // New texts: room for them, and then, without failing, their slots for rows from `first_row` on.
  void make_room_for(size_t texts, size_t rows);
  void place(const std::vector<uint32_t>& slots, size_t first_row, const std::vector<size_t>& offsets);

  const Codebook* list_codebook() const { return store_.codebook() ? store_.codebook() : codebook_.get(); }
  void train_lists(size_t threads);
  static size_t lists_for(size_t tokens);
  std::vector<uint16_t> nearest_centroids(const std::vector<TokenSpan>& texts, size_t threads) const;
  // Lists what is not, if it is time to; what there is no memory for stays as it is.
  void list_if_worth_it(size_t threads);
  void list_all(size_t threads);
  void forget_lists();
  void restore_lists(const Container& file);
  void save_lists(Sections& out) const;

  struct Plan;  // of a search
  using Slots = std::vector<uint32_t>;
  // Queries [first, first + n) against the texts in `slots`, or all.
  void scan(Plan& plan, size_t first, size_t n, const Slots* slots, size_t threads) const;
  void scan_in_groups(Plan& plan, size_t first, size_t n, const Slots* slots) const;
  void answer(Plan& plan, size_t first, size_t n, const Filter& filter) const;
  // Of a query, by the lists: texts that are allowed, and how much better than others they may be.
  std::vector<Candidate> gather(const Plan& plan, size_t query, const BitSet* allowed, size_t probes) const;
  void score_found(Plan& plan, size_t query, std::vector<Candidate> found, const BitSet* allowed,
                   size_t threads) const;
  bool worth_gathering(const Plan& plan, size_t allowed_texts) const;
  size_t probes(size_t candidates, size_t allowed_texts) const;
  std::unique_ptr<TokenLists::Scratch> take_scratch() const;
  void give_scratch(std::unique_ptr<TokenLists::Scratch> scratch) const;

  // Rows of removed texts stay where they are until they outweigh the living, then all move up.
  void compact_if_worth_it();

  bool residual_;
  uint64_t seed_;
  CodeStore store_;
  std::vector<TokenSpan> spans_;  // by slot
  size_t living_rows_ = 0;
  size_t changes_ = 0;
  IdTable ids_;
  std::unique_ptr<const Codebook> codebook_;  // of the lists, where the codec has none
  bool codebook_given_ = false;               // by train(), not by an add()
  TokenLists lists_;
  // While there are lists; a text without a number is in none.
  std::vector<uint32_t> number_of_;  // by slot
  std::vector<uint32_t> slot_of_;    // by number; kNoText: removed
  std::vector<uint32_t> unlisted_;   // numbers, some of them removed
  Opened opened_;
  mutable SharedLock mutex_;
  mutable std::mutex scratch_mutex_;
  mutable std::vector<std::unique_ptr<TokenLists::Scratch>> scratch_;
};

}  // namespace tercet
