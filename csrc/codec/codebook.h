// A codebook: up to 65,536 centroids, and which of them is nearest to a vector, in two levels.
//
// Centroids lie sorted by coarse cluster, so that a coarse cluster is a range of them. A vector is compared
// with the coarse centroids, and then with the centroids of the coarse clusters nearest to it. Everything is
// int8 arithmetic, so the same bits on every level of instructions and for any batch.
#pragma once
#include <functional>
#include <vector>

#include "codec/centroids.h"
#include "codec/int8_vectors.h"
#include "codec/packed_queries.h"
#include "core/steps.h"

namespace tercet {

class Codebook {
 public:
  static constexpr size_t kMost = 65536;  // ids are uint16

  // Coarse cluster i is the centroids [offsets[i], offsets[i + 1]), at least one. These arrays are all of it:
  // the coarse centroids are the means of their ranges. Throws Error where the arrays are no codebook.
  Codebook(Centroids centroids, std::vector<uint32_t> offsets);

  uint32_t dim() const { return centroids_.dim(); }
  size_t size() const { return centroids_.size(); }
  const Centroids& centroids() const { return centroids_; }
  const std::vector<uint32_t>& offsets() const { return offsets_; }
  size_t bytes() const {  // of memory
    return centroids_.bytes() + coarse_.bytes() + offsets_.size() * sizeof(uint32_t);
  }

  // What the codes of centroid `id` stand for.
  void centroid(size_t id, float* out) const { centroids_.get(id, out); }

  // This one with the centroids of another behind its own, as further coarse clusters: those of this one
  // keep their numbers. Throws Error for more than kMost.
  Codebook with(const Codebook& more) const;
  // Whether the other begins with this one, or is the same.
  bool begins(const Codebook& other) const;

  // For scores: queries [count, dim] in the arithmetic of the centroids, and the centroids.
  PackedQueries bind(const float* queries, size_t count) const;
  RowsView rows() const;

  // ids[i] = the centroid nearest to row i, of equally near ones the lowest: among all of up to 64 coarse
  // clusters, else among those of the 32 nearest to the row (of 96 where there are 256). Rows are `stride`
  // floats apart. Throws Error for values that are not finite or beyond 1e15.
  void assign(const float* rows, size_t count, size_t stride, uint16_t* ids, size_t threads) const;
  // The same for vectors that are quantised already; they are counted in `steps`, if there are any.
  void assign(const Int8Vectors& vectors, uint16_t* ids, size_t threads, Steps* steps) const;

 private:
  struct Scratch;
  using Source = std::function<Int8Vectors(size_t first, size_t count, Scratch& scratch)>;
  void assign_blocks(size_t count, const Source& source, uint16_t* ids, size_t threads, Steps* steps) const;
  void assign_block(const Int8Vectors& block, Scratch& scratch, uint16_t* ids) const;
  void choose_clusters(const Int8Vectors& block, Scratch& scratch) const;
  size_t probes() const;

  Centroids centroids_, coarse_;
  std::vector<uint32_t> offsets_;
};

}  // namespace tercet
