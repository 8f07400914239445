// Inverted lists of token vectors: which texts have a token near which centroid. A query's tokens look into
// the lists of the centroids nearest to them, and what they find there estimates MaxSim well enough to tell
// which texts are worth scoring: scores of centroids stand in for those of tokens (Santhanam et al., "PLAID",
// 2022), and of a text that is in none of a token's lists the worst of them is assumed (Lee et al., "XTR",
// 2023).
//
// Cost of a query: its tokens against the centroids, a few thousand entries of lists, a random access each.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/topk.h"
#include "core/types.h"
#include "storage/container.h"
#include "storage/sections.h"

namespace tercet {

constexpr uint32_t kNoText = 0xffffffff;

class TokenLists {
 public:
  // What a gathering needs; belongs to one worker at a time.
  struct Scratch {
    struct Sum {
      float gain = 0;
      uint32_t token = 0;  // the last token of the query that found the text, from 1; 0: none
    };
    std::vector<Sum> sums;          // by text; zero between gatherings
    std::vector<uint32_t> touched;  // texts with a sum
  };

  // A text to be listed, and where the centroids of its tokens are.
  struct Text {
    uint32_t number;
    TokenSpan tokens;
  };

  bool empty() const { return offsets_.size() == 0; }
  void clear() {
    offsets_.take({});
    gaps_.take({});
  }
  size_t bytes() const { return offsets_.size() * sizeof(int64_t) + gaps_.size(); }

  // Empty lists for centroids behind those there are.
  void extend(size_t centroids);

  // Gives listed texts new numbers, or none where `numbers` has kNoText, and lists `added` behind them, whose
  // token i is nearest to centroid nearest[i]. A text is once in a list.
  void update(size_t centroids, const std::vector<uint32_t>& numbers, const std::vector<Text>& added,
              const uint16_t* nearest);

  // Sums up what each listed text may score more than the texts that no token finds: `nearest` has for each
  // token of a query the centroids to look at, by falling scores, of which the last only says what the others
  // are compared with. The answer is in scratch.touched and scratch.sums, until clear().
  void gather(const std::vector<std::vector<Candidate>>& nearest, size_t texts, Scratch& scratch) const;
  static void clear(Scratch& scratch);

  static constexpr const char* kPayload = "list_gaps";
  // With the slots of texts for their numbers, kNoText: none.
  void save(Sections& out, const std::vector<uint32_t>& slots) const;
  // The entries stay in the file, and nobody has looked at them: check() throws Error for what is no text, or
  // one of those that are in no list, which a search would find twice.
  void restore(const Container& file, size_t centroids);
  void check(size_t texts, const std::vector<uint32_t>& unlisted) const;

 private:
  struct Stored {
    AlignedVector<int64_t> offsets;
    AlignedVector<uint8_t> gaps;
  };
  Stored renumbered(size_t centroids, const std::vector<uint32_t>& numbers, const std::vector<Text>& added,
                    const uint16_t* nearest) const;
  template <class F>
  void each(size_t centroid, const F& f) const;

  // The list of centroid c is the bytes [offsets_[c], offsets_[c + 1]) of gaps_: numbers by their
  // differences, which are small, since a list has one of some hundred texts: mostly in a byte, where a
  // number takes four.
  Buffer<int64_t> offsets_;
  Buffer<uint8_t> gaps_;
};

}  // namespace tercet
