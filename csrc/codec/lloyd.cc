#include "codec/lloyd.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>

#include "codec/packed_queries.h"
#include "core/parallel.h"
#include "core/random.h"
#include "kernels/kernels.h"

namespace tercet {
namespace {

constexpr size_t kBlock = 4096;  // vectors that are one task
constexpr size_t kClustersOfTask = 16;

size_t tasks_of(size_t count, size_t size) { return (count + size - 1) / size; }

// ids[i] = the centroid nearest to row i of the panel.
void nearest_of(const Panel& panel, const RowsView& rows, uint16_t* ids) {
  float best[kPanelRows];
  uint32_t row[kPanelRows] = {};
  std::fill(best, best + kPanelRows, -std::numeric_limits<float>::infinity());
  kernels().panel(Format::int8).nearest(panel, rows, 0, rows.rows, best, row);
  for (int r = 0; r < panel.rows; ++r) ids[r] = static_cast<uint16_t>(row[r]);
}

void decode(const Int8Vectors& vectors, size_t i, float* out) {
  const uint8_t* const code = vectors.codes + i * vectors.dim;
  for (uint32_t k = 0; k < vectors.dim; ++k) {
    out[k] = vectors.scales[i] * static_cast<float>(static_cast<int8_t>(code[k]));
  }
}

double squared_error(const Int8Vectors& vectors, const Clusters& clusters, size_t c, const float* centroid) {
  std::vector<float> row(vectors.dim);
  double sum = 0;
  for (size_t i = clusters.starts[c]; i < clusters.starts[c + 1]; ++i) {
    decode(vectors, clusters.members[i], row.data());
    for (uint32_t k = 0; k < vectors.dim; ++k) {
      const double difference = static_cast<double>(row[k]) - centroid[k];
      sum += difference * difference;
    }
  }
  return sum;
}

// Gives the empty clusters of one group something to do.
void split_worst(const Int8Vectors& vectors, const Clusters& clusters, size_t begin, size_t end,
                 uint64_t seed, Centroids& centroids) {
  std::vector<size_t> empty;
  for (size_t c = begin; c < end; ++c) {
    if (clusters.size(c) == 0) empty.push_back(c);
  }
  if (empty.empty()) return;
  std::vector<float> centroid(vectors.dim);
  const auto before = [](const std::pair<double, size_t>& a, const std::pair<double, size_t>& b) {
    return a.first < b.first || (a.first == b.first && a.second > b.second);
  };
  std::priority_queue<std::pair<double, size_t>, std::vector<std::pair<double, size_t>>, decltype(before)>
      worst(before);
  for (size_t c = begin; c < end; ++c) {
    if (clusters.size(c) < 2) continue;
    centroids.get(c, centroid.data());
    worst.push({squared_error(vectors, clusters, c, centroid.data()), c});
  }
  for (const size_t c : empty) {
    if (worst.empty() || worst.top().first <= 0) return;
    const auto [error, split] = worst.top();
    worst.pop();
    const size_t member = clusters.starts[split] + random_below(seed, clusters.size(split));
    decode(vectors, clusters.members[member], centroid.data());
    centroids.set(c, centroid.data());
    worst.push({error / 2, split});
  }
}

}  // namespace

// Knuth, "The Art of Computer Programming" volume 2, algorithm S.
std::vector<uint32_t> random_sample(size_t below, size_t count, uint64_t seed) {
  std::vector<uint32_t> sample;
  sample.reserve(count);
  for (size_t i = 0; sample.size() < count; ++i) {
    if (random_below(seed, below - i) < count - sample.size()) sample.push_back(static_cast<uint32_t>(i));
  }
  return sample;
}

Centroids lloyd(const Int8Vectors& vectors, size_t k, int iterations, uint64_t seed, size_t threads) {
  Centroids centroids(vectors.dim, k);
  const std::vector<uint32_t> sample = random_sample(vectors.count, k, split_mix(seed));
  std::vector<float> row(vectors.dim);
  for (size_t i = 0; i < k; ++i) {
    decode(vectors, sample[i], row.data());
    centroids.set(i, row.data());
  }
  if (k == vectors.count || iterations == 0) return centroids;

  // Packed once for all iterations: a panel of 32 takes half as long to pack as to score with 128 centroids.
  const PackedQueries panels({vectors.codes, vectors.count, vectors.dim, vectors.dim, Format::int8},
                             vectors.scales);
  constexpr size_t kPanelsOfTask = kBlock / kPanelRows;
  std::vector<uint16_t> ids(vectors.count), before;
  const std::vector<uint32_t> one_group = {0, static_cast<uint32_t>(k)};
  for (int i = 0; i < iterations; ++i) {
    parallel_for(tasks_of(panels.num_panels(), kPanelsOfTask), threads, [&](size_t task, size_t) {
      const size_t end = std::min(panels.num_panels(), (task + 1) * kPanelsOfTask);
      for (size_t p = task * kPanelsOfTask; p < end; ++p) {
        nearest_of(panels.panel(p), centroids.view(), ids.data() + p * kPanelRows);
      }
    });
    if (ids == before) break;
    move_to_means(vectors, Clusters(ids, k), one_group, split_mix(seed), threads, centroids);
    before = ids;
  }
  return centroids;
}

void assign_flat(const Int8Vectors& vectors, const Centroids& centroids, uint16_t* ids, size_t threads) {
  parallel_for(tasks_of(vectors.count, kBlock), threads, [&](size_t task, size_t) {
    Int8Panel panel(vectors.dim);
    const size_t end = std::min(vectors.count, (task + 1) * kBlock);
    for (size_t first = task * kBlock; first < end; first += kPanelRows) {
      const size_t n = std::min<size_t>(kPanelRows, end - first);
      nearest_of(panel.pack(vectors, first, n), centroids.view(), ids + first);
    }
  });
}

Clusters::Clusters(const std::vector<uint16_t>& ids, size_t clusters)
    : starts(clusters + 1), members(ids.size()) {
  for (const uint16_t id : ids) ++starts[size_t{id} + 1];
  for (size_t c = 0; c < clusters; ++c) starts[c + 1] += starts[c];
  std::vector<size_t> next(starts.begin(), starts.end() - 1);
  for (size_t i = 0; i < ids.size(); ++i) members[next[ids[i]]++] = static_cast<uint32_t>(i);
}

void move_to_means(const Int8Vectors& vectors, const Clusters& clusters, const std::vector<uint32_t>& groups,
                   uint64_t seed, size_t threads, Centroids& centroids) {
  const uint32_t dim = vectors.dim;
  const size_t count = centroids.size();
  parallel_for(tasks_of(count, kClustersOfTask), threads, [&](size_t task, size_t) {
    std::vector<double> sums(dim);
    std::vector<float> mean(dim);
    for (size_t c = task * kClustersOfTask; c < std::min(count, (task + 1) * kClustersOfTask); ++c) {
      if (clusters.size(c) == 0) continue;
      std::fill(sums.begin(), sums.end(), 0.0);
      for (size_t i = clusters.starts[c]; i < clusters.starts[c + 1]; ++i) {
        const size_t vector = clusters.members[i];
        const float scale = vectors.scales[vector];
        const uint8_t* const code = vectors.codes + vector * dim;
        for (uint32_t k = 0; k < dim; ++k) {
          sums[k] += static_cast<double>(scale * static_cast<float>(static_cast<int8_t>(code[k])));
        }
      }
      const auto members = static_cast<double>(clusters.size(c));
      for (uint32_t k = 0; k < dim; ++k) mean[k] = static_cast<float>(sums[k] / members);
      centroids.set(c, mean.data());
    }
  });
  parallel_for(groups.size() - 1, threads, [&](size_t g, size_t) {
    split_worst(vectors, clusters, groups[g], groups[g + 1], seed + g, centroids);
  });
}

}  // namespace tercet
