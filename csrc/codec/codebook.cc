// Assignment works on blocks of vectors. Their scores with the coarse centroids say which clusters each
// vector looks into; then cluster by cluster, the block's vectors that look into it are gathered into panels,
// and scored against its range of centroids, 32 vectors at a time, whatever order they came in. A vector's
// best so far is kept beside the block. Cost per vector at 2^14 centroids of 128 dimensions: 16 k
// multiply-adds for the coarse level, 16 k for each cluster, and 128 bytes gathered and packed for each
// cluster.
#include "codec/codebook.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "codec/codec.h"
#include "core/error.h"
#include "core/parallel.h"
#include "kernels/kernels.h"

namespace tercet {
namespace {

// Measured: 2^14 centroids of 128 dimensions in 128 clusters, trained on 400,000 vectors; of 4096 others the
// part whose centroid is at most 1 % farther than the nearest of all.
//                     isotropic   4000 clusters
//    8 probes         90.9 %      98.4 %
//   16                96.8 %      99.5 %
//   32                99.2 %      99.95 %
// Trained on a million: 99.0 % and 99.95 %. 2^16 centroids in 256 clusters, trained on 500,000 isotropic
// vectors: 64 probes 98.3 %, 96 of them 99.4 %; hence half the clusters but 32, where there are more than
// 128. The 32 clusters nearest to the vector's own cluster, rather than to the vector: 77.9 % and 93.6 %.
// Leaving out clusters at more than 1.12 times the squared distance of the nearest saves two thirds of the
// work where vectors are clustered, but loses more than 1 % of them at 32 dimensions: the right factor
// depends on the data.
constexpr size_t kProbes = 32;

// 16 vectors of 128 dimensions fill a quarter of the panels of 256 clusters; their codes stay in L2.
constexpr size_t kBlock = 4096;

constexpr float kNothing = -std::numeric_limits<float>::infinity();

Centroids means_of(const Centroids& centroids, const std::vector<uint32_t>& offsets) {
  const uint32_t dim = centroids.dim();
  Centroids means(dim, offsets.size() - 1);
  std::vector<float> row(dim);
  std::vector<double> sums(dim);
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (size_t j = offsets[i]; j < offsets[i + 1]; ++j) {
      centroids.get(j, row.data());
      for (uint32_t k = 0; k < dim; ++k) sums[k] += row[k];
    }
    for (uint32_t k = 0; k < dim; ++k) row[k] = static_cast<float>(sums[k] / (offsets[i + 1] - offsets[i]));
    means.set(i, row.data());
  }
  return means;
}

// For each lane a threshold that `least` or more of `count` scores[.][lane] reach, as few as 12 bisections
// between the smallest and the largest find: ties and near ties come along. Lanes are left to the vectoriser.
void find_thresholds(const float* scores, size_t count, size_t least, float* low) {
  float high[kPanelRows], middle[kPanelRows];
  std::copy(scores, scores + kPanelRows, low);
  std::copy(scores, scores + kPanelRows, high);
  for (size_t i = 1; i < count; ++i) {
    const float* const row = scores + i * kPanelRows;
    for (int r = 0; r < kPanelRows; ++r) {
      low[r] = row[r] < low[r] ? row[r] : low[r];
      high[r] = row[r] > high[r] ? row[r] : high[r];
    }
  }
  for (int step = 0; step < 12; ++step) {
    int32_t reached[kPanelRows] = {};
    for (int r = 0; r < kPanelRows; ++r) middle[r] = low[r] + (high[r] - low[r]) * 0.5f;
    for (size_t i = 0; i < count; ++i) {
      for (int r = 0; r < kPanelRows; ++r) reached[r] += scores[i * kPanelRows + r] >= middle[r];
    }
    for (int r = 0; r < kPanelRows; ++r) {
      const bool enough = reached[r] >= static_cast<int32_t>(least);
      low[r] = enough ? middle[r] : low[r];
      high[r] = enough ? high[r] : middle[r];
    }
  }
}

}  // namespace

// Belongs to one worker.
struct Codebook::Scratch {
  Int8Panel panel;
  AlignedVector<float> scores;    // of a panel with the coarse centroids
  std::vector<uint16_t> looking;  // [coarse][kBlock] vectors of the block that look into the cluster
  std::vector<size_t> counts;     // how many
  std::vector<float> best;        // of each vector
  std::vector<uint32_t> row;      // where that was
  AlignedVector<uint8_t> codes;   // where vectors come as float32
  AlignedVector<float> scales;
  Scratch(uint32_t dim, size_t coarse)
      : panel(dim),
        scores(coarse * kPanelRows),
        looking(coarse * kBlock),
        counts(coarse),
        best(kBlock),
        row(kBlock),
        codes(kBlock * dim),
        scales(kBlock) {
    std::fill(scores.begin(), scores.end(), 0.0f);  // a panel of few vectors leaves the other lanes alone
  }
};

Codebook::Codebook(Centroids centroids, std::vector<uint32_t> offsets)
    : centroids_(std::move(centroids)), coarse_(centroids_.dim()), offsets_(std::move(offsets)) {
  require(dim() >= 1 && dim() <= 65535, "codebook: expected 1 to 65535 dimensions, got ", dim());
  require(size() >= 1 && size() <= kMost, "codebook: expected 1 to ", kMost, " centroids, got ", size());
  require(offsets_.size() >= 2 && offsets_.front() == 0 && offsets_.back() == size(),
          "codebook: offsets must rise from 0 to ", size());
  for (size_t i = 0; i + 1 < offsets_.size(); ++i) {
    require(offsets_[i] < offsets_[i + 1], "codebook: coarse cluster ", i, " has no centroids");
  }
  coarse_ = means_of(centroids_, offsets_);
}

Codebook Codebook::with(const Codebook& more) const {
  Centroids all(dim(), size() + more.size());
  for (size_t i = 0; i < size(); ++i) all.copy(i, centroids_, i);
  for (size_t i = 0; i < more.size(); ++i) all.copy(size() + i, more.centroids_, i);
  std::vector<uint32_t> offsets = offsets_;
  for (size_t i = 1; i < more.offsets_.size(); ++i) {
    offsets.push_back(static_cast<uint32_t>(size()) + more.offsets_[i]);
  }
  return Codebook(std::move(all), std::move(offsets));
}

bool Codebook::begins(const Codebook& other) const {
  const auto is_start = [](const auto& part, const auto& whole) {
    return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
  };
  return dim() == other.dim() && is_start(centroids_.codes(), other.centroids_.codes()) &&
         is_start(centroids_.scales(), other.centroids_.scales()) && is_start(offsets_, other.offsets_);
}

PackedQueries Codebook::bind(const float* queries, size_t count) const {
  static const std::unique_ptr<Codec> codec = make_int8_codec();
  return codec->bind(queries, count, dim());
}

RowsView Codebook::rows() const {
  RowsView rows = centroids_.view();
  rows.bias = nullptr;  // that is for distances
  return rows;
}

size_t Codebook::probes() const {
  const size_t clusters = coarse_.size();
  return clusters > 4 * kProbes ? clusters / 2 - kProbes : kProbes;
}

void Codebook::assign(const float* rows, size_t count, size_t stride, uint16_t* ids, size_t threads) const {
  const auto source = [&](size_t first, size_t n, Scratch& s) -> Int8Vectors {
    quantise_vectors(rows + first * stride, stride, dim(), first, n, s.codes.data(), s.scales.data());
    return {s.codes.data(), s.scales.data(), n, dim()};
  };
  assign_blocks(count, source, ids, threads, nullptr);
}

void Codebook::assign(const Int8Vectors& vectors, uint16_t* ids, size_t threads, Steps* steps) const {
  const auto source = [&](size_t first, size_t n, Scratch&) { return vectors.slice(first, n); };
  assign_blocks(vectors.count, source, ids, threads, steps);
}

void Codebook::assign_blocks(size_t count, const Source& source, uint16_t* ids, size_t threads,
                             Steps* steps) const {
  const size_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<std::unique_ptr<Scratch>> scratch(worker_count(blocks, threads));
  parallel_for(blocks, threads, [&](size_t block, size_t worker) {
    if (!scratch[worker]) scratch[worker] = std::make_unique<Scratch>(dim(), coarse_.size());
    const size_t first = block * kBlock, n = std::min(kBlock, count - first);
    assign_block(source(first, n, *scratch[worker]), *scratch[worker], ids + first);
    if (steps) steps->done += n;
  });
}

void Codebook::assign_block(const Int8Vectors& block, Scratch& s, uint16_t* ids) const {
  const auto nearest = kernels().panel(Format::int8).nearest;
  const RowsView rows = centroids_.view();
  float best[kPanelRows];
  uint32_t row[kPanelRows];
  if (coarse_.size() <= 2 * probes()) {  // gathering and packing would take longer than all centroids do
    for (size_t first = 0; first < block.count; first += kPanelRows) {
      const size_t n = std::min<size_t>(kPanelRows, block.count - first);
      std::fill(best, best + kPanelRows, kNothing);
      std::fill(row, row + kPanelRows, 0);
      nearest(s.panel.pack(block, first, n), rows, 0, size(), best, row);
      for (size_t i = 0; i < n; ++i) ids[first + i] = static_cast<uint16_t>(row[i]);
    }
    return;
  }
  choose_clusters(block, s);
  std::fill(s.best.begin(), s.best.end(), kNothing);
  std::fill(s.row.begin(), s.row.end(), 0);
  for (size_t c = 0; c < coarse_.size(); ++c) {  // upwards, so that of equals the lowest wins
    const uint16_t* const looking = s.looking.data() + c * kBlock;
    for (size_t first = 0; first < s.counts[c]; first += kPanelRows) {
      const uint16_t* const which = looking + first;
      const size_t n = std::min<size_t>(kPanelRows, s.counts[c] - first);
      std::fill(best, best + kPanelRows, 0.0f);
      for (size_t i = 0; i < n; ++i) best[i] = s.best[which[i]], row[i] = s.row[which[i]];
      nearest(s.panel.gather(block, which, n), rows, offsets_[c], offsets_[c + 1] - offsets_[c], best, row);
      for (size_t i = 0; i < n; ++i) s.best[which[i]] = best[i], s.row[which[i]] = row[i];
    }
  }
  for (size_t i = 0; i < block.count; ++i) ids[i] = static_cast<uint16_t>(s.row[i]);
}

// Fills looking and counts.
void Codebook::choose_clusters(const Int8Vectors& block, Scratch& s) const {
  const size_t clusters = coarse_.size();
  const RowsView rows = coarse_.view();
  std::fill(s.counts.begin(), s.counts.end(), size_t{0});
  for (size_t first = 0; first < block.count; first += kPanelRows) {
    const size_t n = std::min<size_t>(kPanelRows, block.count - first);
    kernels().panel(Format::int8).dot(s.panel.pack(block, first, n), rows, 0, clusters, s.scores.data());
    float threshold[kPanelRows];
    find_thresholds(s.scores.data(), clusters, probes(), threshold);
    for (size_t c = 0; c < clusters; ++c) {
      const float* const scores = s.scores.data() + c * kPanelRows;
      uint16_t* const looking = s.looking.data() + c * kBlock;
      size_t count = s.counts[c];
      for (size_t r = 0; r < n; ++r) {  // written always, kept if it counts: no branch to predict
        looking[count] = static_cast<uint16_t>(first + r);
        count += scores[r] >= threshold[r];
      }
      s.counts[c] = count;
    }
  }
}

}  // namespace tercet
