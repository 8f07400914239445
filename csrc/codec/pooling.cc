#include "codec/pooling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "codec/packed_queries.h"
#include "codec/ward.h"
#include "core/aligned.h"
#include "core/error.h"
#include "core/parallel.h"
#include "kernels/kernels.h"

namespace tercet {
namespace {

size_t clusters_of(size_t tokens, size_t factor) {
  return std::min(tokens, std::max<size_t>(1, tokens / factor));
}

// In float64, where the square of a float32 neither overflows nor vanishes. Eight partial sums, since one
// would wait for itself; dimension k goes to k % 8.
template <class T>
double length_of(const T* v, uint32_t dim) {
  constexpr uint32_t kSums = 8;
  double sums[kSums] = {};
  uint32_t k = 0;
  for (; k + kSums <= dim; k += kSums) {
    for (uint32_t i = 0; i < kSums; ++i) sums[i] += static_cast<double>(v[k + i]) * v[k + i];
  }
  for (uint32_t i = 0; k + i < dim; ++i) sums[i] += static_cast<double>(v[k + i]) * v[k + i];
  return std::sqrt(((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])));
}

// One worker's scratch.
class Pooler {
 public:
  explicit Pooler(uint32_t dim) : dim_(dim), sum_(dim) {}

  // `count` rows to `clusters` vectors.
  void pool(const RowsView& rows, size_t first, size_t count, size_t clusters, float* out) {
    if (clusters == 1) {
      first_.assign(count, 0);
      measure(rows, first, count);
    } else {
      unit_.resize(count * dim_);
      measure(rows, first, count);
      for (size_t i = 0; i < count; ++i) {
        const float* const row = at(rows, first + i);
        const double inverse = lengths_[i] > 0 ? 1 / lengths_[i] : 0;
        for (uint32_t k = 0; k < dim_; ++k) unit_[i * dim_ + k] = static_cast<float>(row[k] * inverse);
      }
      compare(count);
      first_ = tree_.cut(clusters);
    }
    // Members of a cluster, each pointing to the next one.
    next_.assign(count, kEnd);
    last_.assign(count, kEnd);
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t& last = last_[first_[i]];
      if (last != kEnd) next_[last] = i;
      last = i;
    }
    for (uint32_t i = 0; i < count; ++i) {
      if (first_[i] != i) continue;
      mean(rows, first, i, out);
      out += dim_;
    }
  }

 private:
  static constexpr uint32_t kEnd = std::numeric_limits<uint32_t>::max();

  static const float* at(const RowsView& rows, size_t i) {
    return reinterpret_cast<const float*>(rows.row(i));
  }

  void measure(const RowsView& rows, size_t first, size_t count) {
    lengths_.resize(count);
    for (size_t i = 0; i < count; ++i) lengths_[i] = length_of(at(rows, first + i), dim_);
  }

  // (1 - cosine)^2 of all pairs. A product of two rows has the same bits both ways, so half are computed.
  void compare(size_t count) {
    tree_.resize(count);
    const RowsView rows{reinterpret_cast<const uint8_t*>(unit_.data()), count, dim_ * sizeof(float), dim_};
    const PackedQueries packed(rows);
    const PanelKernels& kernel = kernels().panel(Format::float32);
    constexpr size_t kRows = 64;
    alignas(kCacheLine) float scores[kRows * kPanelRows];
    static_assert(Ward::kBlock == kPanelRows);
    for (size_t p = 0; p < packed.num_panels(); ++p) {
      const Panel panel = packed.panel(p);
      const size_t column = p * kPanelRows;
      for (size_t begin = column; begin < count; begin += kRows) {
        const size_t n = std::min(kRows, count - begin);
        kernel.dot(panel, rows, begin, n, scores);
        for (size_t i = 0; i < n; ++i) {
          float* const squares = tree_.squares(begin + i) + column;
          for (int r = 0; r < kPanelRows; ++r) {
            const float apart = 1 - scores[i * kPanelRows + r];
            squares[r] = apart > 0 ? apart * apart : 0.0f;
          }
          for (int r = 0; r < panel.rows; ++r) tree_.squares(column + r)[begin + i] = squares[r];
        }
      }
    }
  }

  // Summed in the order of the tokens, in float64: nothing overflows, and it is rounded once.
  void mean(const RowsView& rows, size_t first, uint32_t member, float* out) {
    const float* row = at(rows, first + member);
    std::copy(row, row + dim_, sum_.begin());
    double lengths = lengths_[member];
    double count = 1;
    while ((member = next_[member]) != kEnd) {
      row = at(rows, first + member);
      for (uint32_t k = 0; k < dim_; ++k) sum_[k] += row[k];
      lengths += lengths_[member];
      ++count;
    }
    const double length = length_of(sum_.data(), dim_);
    const double scale = length > 0 ? lengths / count / length : 0;
    // The stretched mean of the largest floats could be larger than they are.
    constexpr double kMost = std::numeric_limits<float>::max();
    for (uint32_t k = 0; k < dim_; ++k) {
      out[k] = static_cast<float>(std::clamp(sum_[k] * scale, -kMost, kMost));
    }
  }

  uint32_t dim_;
  Ward tree_;
  AlignedVector<float> unit_;    // [tokens][dim]
  std::vector<double> lengths_;  // [tokens]
  std::vector<double> sum_;      // [dim]
  std::vector<uint32_t> first_, next_, last_;
};

}  // namespace

PooledTokens pool_tokens(const RowsView& rows, const std::vector<size_t>& offsets, size_t factor, size_t kept,
                         size_t threads, const char* what) {
  require(factor >= 1, "factor: expected at least 1, got ", factor);
  const size_t texts = offsets.size() - 1;
  const uint32_t dim = rows.dim;
  PooledTokens pooled;
  pooled.offsets.assign(1, 0);
  for (size_t i = 0; i < texts; ++i) {
    const size_t tokens = offsets[i + 1] - offsets[i], left = std::min(kept, tokens);
    pooled.offsets.push_back(pooled.offsets.back() + left + clusters_of(tokens - left, factor));
  }
  pooled.values.resize(pooled.offsets.back() * dim);
  std::vector<Pooler> poolers(worker_count(texts, threads), Pooler(dim));
  parallel_for(texts, threads, [&](size_t text, size_t worker) {
    const size_t end = offsets[text + 1];
    for (size_t i = offsets[text]; i < end; ++i) {
      require(kernels().all_finite(Format::float32, rows.row(i), dim), what, ": row ", i,
              " has a value that is not finite");
    }
    const size_t tokens = end - offsets[text];
    const size_t vectors = pooled.offsets[text + 1] - pooled.offsets[text];
    // As they are: those that are kept, or all of them.
    const size_t same = tokens == vectors ? tokens : std::min(kept, tokens);
    float* out = pooled.values.data() + pooled.offsets[text] * dim;
    for (size_t i = 0; i < same; ++i) {
      const float* const row = reinterpret_cast<const float*>(rows.row(offsets[text] + i));
      out = std::copy(row, row + dim, out);
    }
    if (same < tokens) poolers[worker].pool(rows, offsets[text] + same, tokens - same, vectors - same, out);
  });
  return pooled;
}

}  // namespace tercet
