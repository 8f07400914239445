// The best k of each query by distances that are still short of a term of the query's.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/aligned.h"
#include "core/topk.h"
#include "core/types.h"

namespace tercet {

// Scans score <2 q, x> - |x|^2; a distance lacks -|q|^2, and is at most 0. Taking that away rounds, so that
// scores which differ before may be equal then, and their ids decide. The collector therefore cuts by
// finished scores, and its threshold lets pass what could still be equal.
class DistanceTopK {
 public:
  // `block`: how many candidates may be pushed between two calls of make_room(). `square`: |q|^2.
  DistanceTopK(size_t k, size_t block, float square)
      : k_(k), slack_(std::max<size_t>(16, k / 4)), square_(square), buffer_(k + slack_ + block) {}

  Candidate* data() { return buffer_.data(); }
  uint32_t& size() { return size_; }
  float threshold() const { return threshold_; }

  void make_room(const BetterThan& better) {
    if (size_ > k_ + slack_ || (size_ >= k_ && threshold_ == kLowest)) cut(better);
  }

  // The best k of several collectors, with finished scores, best first.
  static std::vector<Candidate> merge(const std::vector<DistanceTopK*>& parts, size_t k,
                                      const BetterThan& better) {
    std::vector<Candidate> all;
    for (DistanceTopK* part : parts) {
      for (uint32_t i = 0; i < part->size_; ++i) {
        all.push_back({part->finished(part->buffer_[i].score), part->buffer_[i].row});
      }
    }
    const size_t kept = std::min(k, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<long>(kept), all.end(), better);
    all.resize(kept);
    return all;
  }

 private:
  float finished(float score) const { return std::min(score - square_, 0.0f); }

  void cut(const BetterThan& better) {
    if (size_ < k_ || k_ == 0) return;
    std::nth_element(buffer_.begin(), buffer_.begin() + static_cast<long>(k_ - 1), buffer_.begin() + size_,
                     [&](const Candidate& a, const Candidate& b) {
                       return better({finished(a.score), a.row}, {finished(b.score), b.row});
                     });
    size_ = static_cast<uint32_t>(k_);
    // What is below by more than two of the last places of all numbers here finishes below.
    const double worst = finished(buffer_[k_ - 1].score);
    threshold_ = static_cast<float>(worst + square_ - 0x1p-22 * (std::abs(worst) + square_)) - 0x1p-140f;
  }

  static constexpr float kLowest = -std::numeric_limits<float>::infinity();
  size_t k_, slack_;
  float square_;
  AlignedVector<Candidate> buffer_;  // uninitialised
  uint32_t size_ = 0;
  float threshold_ = kLowest;
};

}  // namespace tercet
