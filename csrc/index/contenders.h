// The rows that could still be among the best k when only bounds of their scores are known.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/aligned.h"
#include "core/topk.h"
#include "core/types.h"

namespace tercet {

// Collects candidates whose scores are upper bounds; widths[row] below lies the lower bound. The threshold is
// the k-th best lower bound so far: a row whose upper bound is below it has k rows above it for certain.
// Unlike TopK it keeps as many as it must, so the buffer grows.
class Contenders {
 public:
  // `block`: how many candidates may be pushed between two calls of make_room().
  Contenders(size_t k, size_t block, const float* widths)
      : k_(k), block_(block), widths_(widths), buffer_(2 * (k + block)) {
    lowers_.reserve(k);
  }

  Candidate* data() { return buffer_.data(); }
  uint32_t& size() { return size_; }
  float threshold() const { return lowers_.size() == k_ ? lowers_.front() : kLowest; }

  // Leaves room for another block. The order of candidates says nothing here.
  void make_room(const BetterThan&) {
    for (; seen_ < size_; ++seen_) keep_lower(buffer_[seen_].score - widths_[buffer_[seen_].row]);
    if (size_ + block_ <= buffer_.size()) return;
    drop();
    // Dropping again before as many have come as were left would cost more than it spares.
    buffer_.resize(std::max<size_t>(buffer_.size(), 2 * (size_ + block_)));
  }

  // What of several collectors could be among the best k of all, the highest upper bound first.
  static std::vector<Candidate> merge(const std::vector<Contenders*>& parts, size_t k, const float* widths) {
    Contenders all(k, 0, widths);
    for (const Contenders* part : parts) {
      for (const float lower : part->lowers_) all.keep_lower(lower);
    }
    std::vector<Candidate> kept;
    for (const Contenders* part : parts) {
      for (uint32_t i = 0; i < part->size_; ++i) {
        if (part->buffer_[i].score >= all.threshold()) kept.push_back(part->buffer_[i]);
      }
    }
    std::sort(kept.begin(), kept.end(),
              [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    return kept;
  }

 private:
  // The best k lower bounds, a heap whose front is the worst of them.
  void keep_lower(float lower) {
    if (lower != lower) lower = kLowest;  // where both are infinite; a heap needs an order
    if (lowers_.size() == k_) {
      if (!(lower > lowers_.front())) return;
      std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
      lowers_.back() = lower;
    } else {
      lowers_.push_back(lower);
    }
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
  }

  void drop() {
    const auto end = std::remove_if(buffer_.begin(), buffer_.begin() + size_,
                                    [&](const Candidate& c) { return c.score < threshold(); });
    size_ = seen_ = static_cast<uint32_t>(end - buffer_.begin());
  }

  static constexpr float kLowest = -std::numeric_limits<float>::infinity();
  size_t k_, block_;
  const float* widths_;
  AlignedVector<Candidate> buffer_;  // uninitialised
  std::vector<float> lowers_;
  uint32_t size_ = 0, seen_ = 0;
};

}  // namespace tercet
