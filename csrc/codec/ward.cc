#include "codec/ward.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

namespace tercet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

void Ward::resize(size_t rows) {
  rows_ = rows;
  stride_ = (rows + kBlock - 1) / kBlock * kBlock;
  squares_.resize(rows_ * stride_);
}

const std::vector<uint32_t>& Ward::cut(size_t clusters) {
  sizes_.assign(stride_, 1);
  masks_.assign(stride_, 0);
  living_.resize(rows_);
  std::iota(living_.begin(), living_.end(), 0u);
  into_ = living_;
  turn_.assign(rows_, 0);
  heights_.assign(rows_, 0);
  for (size_t i = 0; i < rows_; ++i) {
    squares(i)[i] = kInfinity;
    std::fill(squares(i) + rows_, squares(i) + stride_, kInfinity);
  }

  chain_.clear();
  while (living_.size() > 1) {
    if (chain_.empty()) chain_.push_back(living_[0]);
    for (;;) {
      const size_t top = chain_.back(), previous = chain_.size() > 1 ? chain_[chain_.size() - 2] : top;
      const size_t next = nearest(top, previous);
      if (next == previous) break;
      chain_.push_back(static_cast<uint32_t>(next));
    }
    const uint32_t a = chain_.back(), b = chain_[chain_.size() - 2];
    chain_.resize(chain_.size() - 2);
    merge(std::min(a, b), std::max(a, b));
  }

  // All clusters but the first have ended in another one. The lowest of these merges stay.
  order_.resize(rows_ - 1);
  std::iota(order_.begin(), order_.end(), 1u);
  std::nth_element(order_.begin(), order_.begin() + static_cast<long>(rows_ - clusters), order_.end(),
                   [&](uint32_t a, uint32_t b) {
                     return heights_[a] != heights_[b] ? heights_[a] < heights_[b] : turn_[a] < turn_[b];
                   });
  for (size_t i = rows_ - clusters; i < order_.size(); ++i) into_[order_[i]] = order_[i];
  for (uint32_t i = 0; i < rows_; ++i) into_[i] = into_[into_[i]];  // into_[i] <= i, so it is final
  return into_;
}

// Floats that are not negative are ordered as their bits are, and a minimum of integers vectorises; one of
// floats does not, for what it would do to NaN.
size_t Ward::nearest(size_t cluster, size_t preferred) {
  const float* const row = squares(cluster);
  const int32_t* const masks = masks_.data();
  int32_t least = std::numeric_limits<int32_t>::max();
  size_t block = 0;
  for (size_t begin = 0; begin < stride_; begin += kBlock) {
    int32_t low = std::numeric_limits<int32_t>::max();
    for (size_t k = begin; k < begin + kBlock; ++k) {
      low = std::min(low, std::max(std::bit_cast<int32_t>(row[k]), masks[k]));
    }
    if (low < least) {
      least = low;
      block = begin;
    }
  }
  if (preferred != cluster && std::bit_cast<int32_t>(row[preferred]) == least) return preferred;
  while (std::max(std::bit_cast<int32_t>(row[block]), masks[block]) != least) ++block;
  return block;
}

// The formula of Lance and Williams for Ward's method, on squares. Of nearest neighbours no other cluster
// comes nearer by it: in real numbers the new square is at least the smaller of the two old ones. That must
// hold for what is stored, or a chain could run into itself. It does: computed in float64, the error is far
// below half a step of float32, so rounding to float32 cannot pass the old square, which is one.
void Ward::merge(size_t a, size_t b) {
  float* const kept = squares(a);
  const float* const ended = squares(b);
  const double size_a = sizes_[a], size_b = sizes_[b], square = kept[b];
  heights_[b] = kept[b];
  into_[b] = static_cast<uint32_t>(a);
  turn_[b] = static_cast<uint32_t>(rows_ - living_.size());
  masks_[b] = std::bit_cast<int32_t>(kInfinity);
  living_.erase(std::lower_bound(living_.begin(), living_.end(), static_cast<uint32_t>(b)));
  for (const uint32_t k : living_) {
    const double size = sizes_[k];
    const double sum = (size_a + size) * kept[k] + (size_b + size) * ended[k] - size * square;
    kept[k] = static_cast<float>(sum / (size_a + size_b + size));
    squares(k)[a] = kept[k];
  }
  kept[a] = kInfinity;
  sizes_[a] = size_a + size_b;
}

}  // namespace tercet
