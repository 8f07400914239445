// k-means and codebooks: the same for any number of threads, close to brute force, unharmed by odd data.
#include "codec/kmeans.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "check.h"
#include "codec/lloyd.h"
#include "core/error.h"

using namespace tercet;

namespace {

std::vector<float> clustered(size_t count, uint32_t dim, size_t clusters, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> centers(clusters * dim), rows(count * dim);
  for (float& x : centers) x = normal(random);
  for (size_t i = 0; i < count; ++i) {
    const size_t c = random() % clusters;
    for (uint32_t k = 0; k < dim; ++k) rows[i * dim + k] = centers[c * dim + k] + 0.4f * normal(random);
  }
  return rows;
}

Codebook train(const std::vector<float>& rows, uint32_t dim, size_t centroids, size_t threads = 1) {
  return train_codebook(rows.data(), rows.size() / dim, dim, dim, {centroids, 4, 7, threads});
}

bool same(const Codebook& a, const Codebook& b) {
  return a.centroids().codes() == b.centroids().codes() && a.centroids().scales() == b.centroids().scales() &&
         a.offsets() == b.offsets();
}

std::vector<uint16_t> assigned(const Codebook& book, const std::vector<float>& rows, size_t threads = 1) {
  std::vector<uint16_t> ids(rows.size() / book.dim());
  book.assign(rows.data(), ids.size(), book.dim(), ids.data(), threads);
  return ids;
}

double squared_distance(const float* a, const float* b, uint32_t dim) {
  double sum = 0;
  for (uint32_t k = 0; k < dim; ++k) sum += (double{a[k]} - b[k]) * (double{a[k]} - b[k]);
  return sum;
}

std::vector<float> decoded(const Codebook& book) {
  std::vector<float> rows(book.size() * book.dim());
  for (size_t i = 0; i < book.size(); ++i) book.centroid(i, rows.data() + i * book.dim());
  return rows;
}

}  // namespace

TEST(codebooks_do_not_depend_on_threads) {
  std::mt19937 random(1);
  const std::vector<float> rows = clustered(20000, 24, 300, random);
  const Codebook one = train(rows, 24, 4500);
  CHECK(one.size() == 4500);
  for (const size_t threads : {2, 3}) {
    CHECK(same(one, train(rows, 24, 4500, threads)));
    CHECK(assigned(one, rows) == assigned(one, rows, threads));
  }
}

TEST(assignment_is_nearly_that_of_brute_force) {
  std::mt19937 random(2);
  for (const size_t clusters : {1, 700}) {
    constexpr uint32_t kDim = 32;
    const std::vector<float> rows = clustered(20000, kDim, clusters, random);
    const Codebook book = train(rows, kDim, 4500);
    CHECK(book.offsets().size() > 65);  // few clusters are searched all
    const std::vector<float> centroids = decoded(book);
    const std::vector<uint16_t> ids = assigned(book, rows);
    size_t near = 0;
    for (size_t i = 0; i < 2000; ++i) {
      double best = INFINITY;
      for (size_t c = 0; c < book.size(); ++c) {
        best = std::min(best, squared_distance(&rows[i * kDim], &centroids[c * kDim], kDim));
      }
      const double got = squared_distance(&rows[i * kDim], &centroids[ids[i] * kDim], kDim);
      near += std::sqrt(got) <= 1.01 * std::sqrt(best) + 1e-6;
    }
    CHECK(near >= 1980);
  }
}

TEST(assignment_does_not_depend_on_the_company) {
  std::mt19937 random(3);
  const std::vector<float> rows = clustered(9000, 20, 500, random);
  const Codebook book = train(rows, 20, 4500);
  const std::vector<uint16_t> ids = assigned(book, rows);
  for (const size_t count : {1, 5, 33}) {  // buffers of exactly the needed size, stride wider than a row
    for (size_t first = 0; first + count < 9000; first += 1777) {
      std::unique_ptr<float[]> some(new float[(count - 1) * 23 + 20]);
      for (size_t i = 0; i < count; ++i)
        std::memcpy(&some[i * 23], &rows[(first + i) * 20], 20 * sizeof(float));
      std::vector<uint16_t> got(count);
      book.assign(some.get(), count, 23, got.data(), 1);
      CHECK(std::equal(got.begin(), got.end(), ids.begin() + static_cast<std::ptrdiff_t>(first)));
    }
  }
  book.assign(nullptr, 0, 20, nullptr, 2);
}

TEST(a_codebook_is_its_arrays) {
  std::mt19937 random(4);
  const std::vector<float> rows = clustered(6000, 16, 100, random);
  const Codebook book = train(rows, 16, 4500);
  const Codebook again(Centroids(16, book.centroids().codes(), book.centroids().scales()), book.offsets());
  CHECK(assigned(book, rows) == assigned(again, rows));
}

TEST(kmeans_of_odd_data) {
  std::mt19937 random(5);
  const auto finite = [](const Codebook& book) {
    for (const float x : decoded(book)) {
      if (!std::isfinite(x)) return false;
    }
    return true;
  };
  // one vector; fewer vectors than centroids; one dimension; as many centroids as vectors
  const std::vector<float> three = {1, 2, -3};
  CHECK(train({1.0f}, 1, 5).size() == 1);
  CHECK(train(three, 1, 3).size() == 3 && train(three, 1, 9).size() == 3 && train(three, 1, 1).size() == 1);
  CHECK(train(three, 3, 4).size() == 1);
  for (const size_t k : {1, 2, 3, 4, 7, 64, 500, 999, 1000}) {
    for (const uint32_t dim : {1u, 3u, 64u}) {
      const std::vector<float> rows = clustered(1000, dim, 50, random);
      const Codebook book = train(rows, dim, k, 2);
      CHECK(book.size() == k && finite(book));
      if (k < 1000 || dim == 1) continue;
      const std::vector<float> centroids = decoded(book);  // every vector has its own
      const std::vector<uint16_t> ids = assigned(book, rows);
      bool right = true;
      for (size_t i = 0; i < 1000; ++i) {
        const double square = squared_distance(&rows[i * dim], std::vector<float>(dim).data(), dim);
        right = right && squared_distance(&rows[i * dim], &centroids[ids[i] * dim], dim) < 1e-3 * square;
      }
      CHECK(right);
    }
  }
  // seven distinct vectors, zero among them: every one has a centroid, though there are many more centroids
  std::vector<float> repeated(3000 * 8);
  for (size_t i = 0; i < repeated.size(); ++i) repeated[i] = static_cast<float>(i / 8 % 7 * (i % 8));
  const Codebook book = train(repeated, 8, 600);
  CHECK(book.size() == 600 && finite(book));
  const std::vector<float> centroids = decoded(book);
  const std::vector<uint16_t> ids = assigned(book, repeated);
  double farthest = 0;  // the nearest of the others is at 140
  for (size_t i = 0; i < ids.size(); ++i) {
    farthest = std::max(farthest, squared_distance(&repeated[i * 8], &centroids[ids[i] * 8], 8));
  }
  CHECK(farthest < 1);
  // nothing but zeros, and values at both ends of the range
  CHECK(finite(train(std::vector<float>(400 * 5), 5, 20)));
  for (const float size : {1e15f, 1e-30f, 1e-40f}) {
    std::vector<float> rows = clustered(500, 6, 10, random);
    for (float& x : rows) x = std::clamp(x * size, -1e15f, 1e15f);
    CHECK(finite(train(rows, 6, 30)));
  }
}

TEST(kmeans_refuses) {
  std::vector<float> rows(40, 1.0f);
  CHECK_FAILS(train(rows, 4, 0), "centroids: expected 1 to 65536, got 0");
  CHECK_FAILS(train(rows, 4, 65537), "got 65537");
  CHECK_FAILS(train({}, 4, 3), "vectors: expected 1 to");
  CHECK_FAILS(train_codebook(rows.data(), 10, 4, 4, {2, -1, 0, 1}), "iterations");
  for (const float bad : {NAN, INFINITY, -INFINITY, 2e15f}) {
    rows[13] = bad;
    CHECK_FAILS(train(rows, 4, 3), "row 3 has a value");
    CHECK_FAILS(assigned(train(std::vector<float>(40, 1.0f), 4, 3), rows), "row 3 has a value");
  }
}

TEST(codebooks_refuse_bad_arrays) {
  const auto make = [](size_t codes, std::vector<uint16_t> scales, std::vector<uint32_t> offsets) {
    return Codebook(Centroids(2, AlignedVector<uint8_t>(codes, uint8_t{128}), std::move(scales)),
                    std::move(offsets));
  };
  CHECK(make(6, {0, 0x3f80, 0}, {0, 1, 3}).size() == 3);
  CHECK_FAILS(make(5, {0, 0, 0}, {0, 3}), "expected 3 rows of 2 codes");
  CHECK_FAILS(make(0, {}, {0}), "expected 1 to 65536 centroids");
  CHECK_FAILS(make(2 * 65537, std::vector<uint16_t>(65537), {0, 65537}), "got 65537");
  for (const uint16_t scale : {0x7f80, 0x7fc0, 0xbf80, 0x7f00}) {  // infinity, NaN, -1, 1.7e38
    CHECK_FAILS(make(6, {0, scale, 0}, {0, 3}), "row 1 has the scale");
  }
  for (const std::vector<uint32_t>& offsets :
       {std::vector<uint32_t>{}, {0}, {3}, {1, 3}, {0, 2}, {0, 4}, {0, 4, 3}}) {
    CHECK_FAILS(make(6, {0, 0, 0}, offsets), "codebook:");
  }
  CHECK_FAILS(make(6, {0, 0, 0}, {0, 1, 1, 3}), "coarse cluster 1 has no centroids");
}
