// The one definition of order: score descending, then id ascending; and the collector that keeps the best k.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/aligned.h"
#include "core/types.h"

namespace tercet {

// Ties are broken by the caller's ids, which may be strings or in any order. Comparing them is rare, hence a
// virtual call is fine. The default is the order of the rows themselves.
class TieBreak {
 public:
  virtual ~TieBreak() = default;
  virtual bool before(uint32_t row_a, uint32_t row_b) const { return row_a < row_b; }
};

struct BetterThan {
  const TieBreak* ties;
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.score != b.score ? a.score > b.score : ties->before(a.row, b.row);
  }
};

// An unordered buffer of candidates that is cut back to the best k whenever it is full: amortised O(1) a
// push, where a heap costs O(log k). `threshold` is the k-th best score at the last cut. Whoever pushes must
// skip only what scores below it: equal scores may still win by id.
class TopK {
 public:
  // `block`: how many candidates may be pushed between two calls of make_room().
  TopK(size_t k, size_t block) : k_(k), slack_(std::max<size_t>(16, k / 4)), buffer_(k + slack_ + block) {}

  Candidate* data() { return buffer_.data(); }
  uint32_t& size() { return size_; }
  float threshold() const { return threshold_; }

  // Leaves room for another block. The first cut comes as soon as k are there, since until then everything
  // passes; later ones after `slack_` more, so that each is paid for by the pushes before it.
  void make_room(const BetterThan& better) {
    if (size_ > k_ + slack_ || (size_ >= k_ && threshold_ == kLowest)) cut(better);
  }

  void push(Candidate c) { buffer_[size_++] = c; }

  void cut(const BetterThan& better) {
    if (size_ < k_ || k_ == 0) return;
    std::nth_element(buffer_.begin(), buffer_.begin() + static_cast<long>(k_ - 1), buffer_.begin() + size_,
                     better);
    size_ = static_cast<uint32_t>(k_);
    threshold_ = buffer_[k_ - 1].score;
  }

 private:
  static constexpr float kLowest = -std::numeric_limits<float>::infinity();
  size_t k_, slack_;
  AlignedVector<Candidate> buffer_;  // uninitialised
  uint32_t size_ = 0;
  float threshold_ = kLowest;
};

// The best k of several collectors, best first.
inline std::vector<Candidate> merge_topk(const std::vector<TopK*>& parts, size_t k,
                                         const BetterThan& better) {
  std::vector<Candidate> all;
  for (TopK* part : parts) all.insert(all.end(), part->data(), part->data() + part->size());
  const size_t kept = std::min(k, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<long>(kept), all.end(), better);
  all.resize(kept);
  return all;
}

}  // namespace tercet
