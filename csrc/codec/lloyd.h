// Lloyd's algorithm: each vector to its nearest centroid, each centroid to the mean of its vectors, by turns.
//
// It sees vectors as int8: their rounding is that of the centroids, and they are a quarter of the bytes to
// fetch for a mean. The result is the same bits on every level of instructions and for every number of
// threads: what is nearest is int8 arithmetic, and a mean is a float64 sum in the order of the vectors, by
// one thread.
#pragma once
#include <cstdint>
#include <vector>

#include "codec/centroids.h"
#include "codec/int8_vectors.h"

namespace tercet {

// `count` of the numbers below `below`, each as likely as the others, in rising order.
std::vector<uint32_t> random_sample(size_t below, size_t count, uint64_t seed);

// 1 to vectors.count centroids, begun from a random sample of the vectors. Stops early where nothing changes.
Centroids lloyd(const Int8Vectors& vectors, size_t k, int iterations, uint64_t seed, size_t threads);

// ids[i] = the centroid nearest to vector i, of equally near ones the lowest.
void assign_flat(const Int8Vectors& vectors, const Centroids& centroids, uint16_t* ids, size_t threads);

// Vectors by the cluster they are assigned to: those of cluster c are members[starts[c]] up to
// members[starts[c + 1]], in their order.
struct Clusters {
  std::vector<size_t> starts;
  std::vector<uint32_t> members;

  // ids[i] is the cluster of vector i.
  Clusters(const std::vector<uint16_t>& ids, size_t clusters);
  size_t size(size_t c) const { return starts[c + 1] - starts[c]; }
};

// Moves centroids to the means of their clusters. One that has no vectors becomes a random one of those of
// the cluster with the largest squared error, which then counts half, within its group: [groups[i], groups[i
// + 1]) are the centroids of a group. Where no error is left to split it stays as it is.
void move_to_means(const Int8Vectors& vectors, const Clusters& clusters, const std::vector<uint32_t>& groups,
                   uint64_t seed, size_t threads, Centroids& centroids);

}  // namespace tercet
