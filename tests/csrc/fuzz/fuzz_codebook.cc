// Centroids and codebooks of any arrays: refused, or vectors find one of their centroids.
#include <algorithm>
#include <cmath>

#include "codec/codebook.h"
#include "codec/kmeans.h"
#include "core/random.h"
#include "fuzz.h"

using namespace tercet;

namespace {

struct Case {
  uint32_t dim = 1;
  size_t centroids = 1, clusters = 1, vectors = 1;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<uint32_t> offsets;
  std::vector<float> values;
};

template <class Archive>
void describe(Archive& a, Case& c) {
  a.bounded(c.dim, 0, 70);
  a.bounded(c.centroids, 0, 400);
  a.bounded(c.clusters, 0, 200);
  a.bounded(c.vectors, 0, 70);
  a.array(c.scales, c.centroids);
  a.array(c.codes, c.centroids * c.dim);
  a.array(c.offsets, c.clusters + 1);
  a.array(c.values, c.vectors * c.dim);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Reader reader(data, size);
  Case c;
  describe(reader, c);
  fuzz::attempt([&] {
    Centroids centroids(c.dim, {c.codes.begin(), c.codes.end()}, c.scales);
    const Codebook codebook(std::move(centroids), c.offsets);
    fuzz::happened(codebook.size() % 8 + 8 * (codebook.offsets().size() > 65));
    std::vector<float> row(c.dim);
    for (size_t i = 0; i < codebook.size(); ++i) {
      codebook.centroid(i, row.data());
      for (const float x : row) REQUIRE(std::isfinite(x));
    }
    const size_t count = c.values.size() / c.dim;
    std::vector<uint16_t> ids(count, 0xffff);
    codebook.assign(c.values.data(), count, c.dim, ids.data(), 1);
    for (const uint16_t id : ids) REQUIRE(id < codebook.size());
    fuzz::happened(100);
    // alone as in company
    for (size_t i = 0; i < std::min<size_t>(count, 3); ++i) {
      uint16_t id = 0xffff;
      codebook.assign(c.values.data() + i * c.dim, 1, c.dim, &id, 1);
      REQUIRE(id == ids[i]);
    }
  });
  fuzz::attempt([&] {
    if (c.dim == 0 || c.values.size() < c.dim) return;
    const size_t count = c.values.size() / c.dim;
    const Codebook trained =
        train_codebook(c.values.data(), count, c.dim, c.dim, {1 + c.centroids % 20, 2, 3, 1});
    REQUIRE(trained.size() <= count);
    fuzz::happened(101);
  });
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<Bytes> all;
  uint64_t state = 2;
  for (const uint32_t dim : {1u, 3u, 16u, 66u}) {
    for (const size_t clusters : {1, 7, 80, 200}) {
      Case c;
      c.dim = dim;
      c.clusters = clusters;
      c.centroids = 2 * clusters;
      c.vectors = 40;
      for (size_t i = 0; i < c.centroids; ++i) c.scales.push_back(static_cast<uint16_t>(0x3c00 + i));
      for (size_t i = 0; i < c.centroids * dim; ++i)
        c.codes.push_back(static_cast<uint8_t>(split_mix(state)));
      for (size_t i = 0; i <= clusters; ++i) c.offsets.push_back(static_cast<uint32_t>(2 * i));
      for (size_t i = 0; i < c.vectors * dim; ++i) {
        c.values.push_back(static_cast<float>(static_cast<int32_t>(split_mix(state))) * 0x1p-31f);
      }
      Writer writer;
      describe(writer, c);
      all.push_back(writer.out);
    }
  }
  return all;
}
