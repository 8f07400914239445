// k-means in two levels. Flat, an iteration over n vectors of d dimensions costs n * k * d multiply-adds: 2 *
// 10^12 for a million vectors of 128 dimensions and 2^14 centroids, four seconds of a core that does 540 *
// 10^9 in a second. Here:
//   coarse       sqrt(k) centroids of a sample: little
//   to coarse    n * sqrt(k) * d
//   fine         the same, for each iteration: inside a coarse cluster there are about sqrt(k) centroids
//   refinement   as Codebook::assign: n * sqrt(k) * d for each cluster looked into, so that borders between
//                coarse clusters are none for the centroids
#include "codec/kmeans.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "codec/lloyd.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/random.h"

namespace tercet {
namespace {

constexpr size_t kSampleOfCluster = 256;  // vectors the coarse level is trained on, for each of its centroids
constexpr int kCoarseIterations = 10;
constexpr int kRefinements = 2;

// How many of k centroids each cluster gets: one, if it has a vector, and the rest by largest remainder of
// what is proportional to its other vectors. Never more than it has vectors.
std::vector<uint32_t> shares(const Clusters& clusters, size_t k) {
  const size_t count = clusters.starts.size() - 1, vectors = clusters.members.size();
  std::vector<uint32_t> share(count);
  size_t used = 0;
  for (size_t c = 0; c < count; ++c) used += clusters.size(c) != 0;
  const size_t rest = k - used, others = vectors - used;
  std::vector<std::pair<size_t, size_t>> remainders;  // largest first, then the lower cluster
  size_t given = 0;
  for (size_t c = 0; c < count; ++c) {
    if (clusters.size(c) == 0) continue;
    const size_t product = (clusters.size(c) - 1) * rest;  // less than 2^48
    share[c] = static_cast<uint32_t>(1 + (others ? product / others : 0));
    given += share[c];
    remainders.push_back({others ? product % others : 0, c});
  }
  std::sort(remainders.begin(), remainders.end(), [](const auto& a, const auto& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  });
  for (size_t i = 0; given < k; ++i, ++given) ++share[remainders[i].second];
  return share;
}

// Owns what Int8Vectors shows.
struct Int8Copies {
  uint32_t dim;
  AlignedVector<uint8_t> codes;
  AlignedVector<float> scales;

  Int8Copies(uint32_t d, size_t count) : dim(d), codes(count * d), scales(count) {}

  // Vectors which[0..count) of `from`.
  Int8Copies(const Int8Vectors& from, const uint32_t* which, size_t count) : Int8Copies(from.dim, count) {
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(from.codes + size_t{which[i]} * dim, dim, codes.data() + i * dim);
      scales[i] = from.scales[which[i]];
    }
  }

  Int8Vectors view() const { return {codes.data(), scales.data(), scales.size(), dim}; }
};

Int8Copies quantised(const float* rows, size_t count, size_t stride, uint32_t dim, size_t threads) {
  constexpr size_t kBlock = 4096;
  Int8Copies copies(dim, count);
  parallel_for((count + kBlock - 1) / kBlock, threads, [&](size_t block, size_t) {
    const size_t first = block * kBlock, n = std::min(kBlock, count - first);
    quantise_vectors(rows + first * stride, stride, dim, first, n, copies.codes.data() + first * dim,
                     copies.scales.data() + first);
  });
  return copies;
}

}  // namespace

Codebook train_codebook(const float* rows, size_t count, size_t stride, uint32_t dim, const KMeans& options) {
  require(dim >= 1 && dim <= 65535, "vectors: expected 1 to 65535 dimensions, got ", dim);
  return train_codebook(quantised(rows, count, stride, dim, options.threads).view(), options);
}

Codebook train_codebook(const Int8Vectors& vectors, const KMeans& options) {
  const size_t count = vectors.count;
  const uint32_t dim = vectors.dim;
  require(options.centroids >= 1 && options.centroids <= Codebook::kMost, "centroids: expected 1 to ",
          Codebook::kMost, ", got ", options.centroids);
  require(options.iterations >= 0, "iterations: expected 0 or more, got ", options.iterations);
  require(count >= 1 && count < UINT32_MAX, "vectors: expected 1 to 2^32 - 2, got ", count);
  const size_t k = std::min(options.centroids, count), threads = options.threads;
  uint64_t random = options.seed;
  const int refinements = options.iterations ? kRefinements : 0;
  if (options.steps) options.steps->total = count * (1 + static_cast<size_t>(refinements));

  // to coarse clusters
  const auto most_coarse = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(k))));
  const std::vector<uint32_t> sample =
      random_sample(count, std::min(count, most_coarse * kSampleOfCluster), split_mix(random));
  const Centroids coarse = lloyd(Int8Copies(vectors, sample.data(), sample.size()).view(), most_coarse,
                                 kCoarseIterations, split_mix(random), threads);
  std::vector<uint16_t> ids(count);
  assign_flat(vectors, coarse, ids.data(), threads);
  const Clusters clusters(ids, coarse.size());

  // fine centroids of each; clusters without vectors are forgotten
  const std::vector<uint32_t> share = shares(clusters, k);
  std::vector<uint32_t> offsets = {0};
  std::vector<size_t> used;
  std::vector<uint64_t> seeds;
  for (size_t c = 0; c < share.size(); ++c) {
    if (share[c] == 0) continue;
    used.push_back(c);
    offsets.push_back(offsets.back() + share[c]);
    seeds.push_back(split_mix(random));
  }
  Centroids fine(dim, k);
  parallel_for(used.size(), threads, [&](size_t i, size_t) {
    const size_t c = used[i];
    const Int8Copies members(vectors, clusters.members.data() + clusters.starts[c], clusters.size(c));
    const Centroids found = lloyd(members.view(), share[c], options.iterations, seeds[i], threads);
    for (size_t j = 0; j < found.size(); ++j) fine.copy(offsets[i] + j, found, j);
    if (options.steps) options.steps->done += members.scales.size();
  });

  Codebook codebook(std::move(fine), offsets);
  for (int i = 0; i < refinements; ++i) {
    codebook.assign(vectors, ids.data(), threads, options.steps);
    Centroids moved = codebook.centroids();
    move_to_means(vectors, Clusters(ids, k), offsets, split_mix(random), threads, moved);
    codebook = Codebook(std::move(moved), offsets);
  }
  return codebook;
}

}  // namespace tercet
