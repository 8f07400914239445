// Trains a codebook: k-means in two levels.
#pragma once
#include <cstdint>

#include "codec/codebook.h"
#include "core/steps.h"

namespace tercet {

struct KMeans {
  size_t centroids = 0;  // 1 to 65,536
  int iterations = 5;    // of Lloyd's algorithm, inside each coarse cluster
  uint64_t seed = 0;
  size_t threads = 0;
  Steps* steps = nullptr;  // counts vectors, each as often as it is assigned
};

// min(centroids, count) centroids for the squared distance, of float32 rows `stride` floats apart. A function
// of the rows, the number of centroids, of iterations, and the seed: not of the threads or the machine. Fewer
// distinct rows than centroids make some of these useless or equal. Throws Error for values that are not
// finite or beyond 1e15.
Codebook train_codebook(const float* rows, size_t count, size_t stride, uint32_t dim, const KMeans& options);
// The same of vectors that are quantised already.
Codebook train_codebook(const Int8Vectors& vectors, const KMeans& options);

}  // namespace tercet
