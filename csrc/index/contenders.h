// The rows that could still be among the best k when only bounds of their scores are known.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

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
      : k_(k), block_(block), widths_(widths), buffer_(2 * (k + block)) {}

  Candidate* data() { return buffer_.data(); }
  uint32_t& size() { return size_; }
  float threshold() const { return threshold_; }

  // Leaves room for another block. The order of candidates says nothing here.
  void make_room(const BetterThan&) {
    const bool first = threshold_ == kLowest && size_ >= k_;
    if (!first && size_ + block_ <= buffer_.size()) return;
    cut();
    // Cutting again before as many have come as were left would cost more than it spares.
    buffer_.resize(std::max<size_t>(buffer_.size(), 2 * (size_ + block_)));
  }

  // The rows of several collectors that could be among the best k of all, ascending.
  static std::vector<uint32_t> merge(const std::vector<Contenders*>& parts, size_t k, const float* widths) {
    size_t total = 0;
    for (Contenders* part : parts) total += part->size();
    Contenders all(k, total, widths);
    for (Contenders* part : parts) {
      std::copy(part->data(), part->data() + part->size(), all.data() + all.size());
      all.size() += part->size();
    }
    all.cut();
    std::vector<uint32_t> rows;
    for (uint32_t i = 0; i < all.size(); ++i) rows.push_back(all.data()[i].row);
    std::sort(rows.begin(), rows.end());
    return rows;
  }

 private:
  void cut() {
    if (size_ < k_) return;
    lower_.resize(size_);
    for (uint32_t i = 0; i < size_; ++i) {
      const float lower = buffer_[i].score - widths_[buffer_[i].row];
      lower_[i] = lower == lower ? lower : kLowest;  // where both are infinite; sorting needs an order
    }
    std::nth_element(lower_.begin(), lower_.begin() + static_cast<long>(k_ - 1), lower_.end(),
                     std::greater<>());
    threshold_ = std::max(threshold_, lower_[k_ - 1]);
    const auto end = std::remove_if(buffer_.begin(), buffer_.begin() + size_,
                                    [&](const Candidate& c) { return c.score < threshold_; });
    size_ = static_cast<uint32_t>(end - buffer_.begin());
  }

  static constexpr float kLowest = -std::numeric_limits<float>::infinity();
  size_t k_, block_;
  const float* widths_;
  std::vector<Candidate> buffer_;
  std::vector<float> lower_;
  uint32_t size_ = 0;
  float threshold_ = kLowest;
};

}  // namespace tercet
