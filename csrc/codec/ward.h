// Ward's hierarchical clustering of the rows of one text: O(n^2) time and memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/aligned.h"

namespace tercet {

// Merges rows by the chain of nearest neighbours: follow "the nearest of" until two clusters are each
// other's, merge these, go on from where the chain was (Murtagh, "A survey of recent advances in hierarchical
// clustering algorithms", 1983). Merges come in another order than their heights, hence a cut after all are
// known.
//
// A cluster is named by its first member. Nothing is left to chance: of equally near clusters the chain takes
// the one it came from, else the one whose first member comes first; of merges of equal height the cut keeps
// those that were made first, which puts no merge before one that it contains.
//
// Reusable: scratch grows to the largest text.
class Ward {
 public:
  static constexpr size_t kBlock = 32;  // rows of the matrix are padded to whole blocks

  void resize(size_t rows);

  // The square of the dissimilarity of row i and each row: not negative, not NaN, the same both ways to the
  // last bit. There is room up to row_stride(); what stands there and on the diagonal does not matter.
  float* squares(size_t i) { return squares_.data() + i * stride_; }
  size_t row_stride() const { return stride_; }

  // Exactly `clusters` clusters, 1 to the number of rows: the first member of each row's cluster. Consumes
  // the matrix.
  const std::vector<uint32_t>& cut(size_t clusters);

 private:
  size_t nearest(size_t cluster, size_t preferred);
  void merge(size_t a, size_t b);

  size_t rows_ = 0, stride_ = 0;
  AlignedVector<float> squares_;  // [rows][stride]
  std::vector<double> sizes_;     // [stride], members of a cluster
  std::vector<int32_t> masks_;    // [stride], 0 for living clusters, the bits of infinity for others
  std::vector<uint32_t> living_, chain_, order_;
  // By cluster that was merged into another: which, at which height, as the how manieth.
  std::vector<uint32_t> into_, turn_;
  std::vector<float> heights_;
};

}  // namespace tercet
