// What a check costs is the scalar kernel, so that runs once for each block of rows, and only dot(): the
// scores of fewer query rows, of residuals and with a bias, and what maxsim, filter and nearest make of them,
// follow from its scores in the same roundings.
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>

#include "core/aligned.h"
#include "core/bfloat16.h"
#include "kernels/selfcheck.h"

namespace tercet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kCentroids = 5;

// Rows of one format and 32 query rows. To have less to fill, a query row is the one before moved by an
// element or more.
struct Block {
  Format format;
  uint32_t dim;
  size_t rows;
  size_t query_stride;
  AlignedVector<uint8_t> queries, codes;
  AlignedVector<uint16_t> row_scales, centroids;
  AlignedVector<float> bias, centroid_scores, query_scales;

  Block(Format of_format, uint32_t of_dim, size_t num_rows)
      : format(of_format),
        dim(of_dim),
        rows(num_rows),
        query_stride(is_integer(format) ? 3 : 4),
        queries((kPanelRows - 1) * query_stride + (is_packed(format) ? dim : row_bytes(format, dim))),
        codes(rows * row_bytes(format, dim)),
        row_scales(rows),
        centroids(rows),
        bias(rows),
        centroid_scores(kCentroids * kPanelRows),
        query_scales(kPanelRows) {
    if (format == Format::bfloat16) {
      fill_bfloat16(queries.data(), queries.size() / 2);
      fill_bfloat16(codes.data(), codes.size() / 2);
    } else if (is_integer(format)) {  // queries are signed, rows of int8 excess-128
      fill_bytes(queries.data(), queries.size(), true, 0);
      fill_bytes(codes.data(), codes.size(), format == Format::int8,
                 format == Format::int8 ? 0x80808080u : 0);
    } else {
      fill_floats(queries.data(), queries.size() / 4);
      fill_floats(codes.data(), codes.size() / 4);
    }
    for (size_t i = 0; i < rows; ++i) {
      row_scales[i] = float_to_bfloat16(0.01f * static_cast<float>(1 + random(100)));
      bias[i] = static_cast<float>(random(100)) - 50;
      centroids[i] = static_cast<uint16_t>(random(kCentroids));
    }
    for (float& x : centroid_scores) x = static_cast<float>(random(1000)) - 500;
    for (float& x : query_scales) x = 0.37f * static_cast<float>(1 + random(9));
    // The last rows repeat the first: of equal scores the lowest row has to win.
    for (size_t from = 0, to = rows - rows / 3; to < rows; ++from, ++to) {
      const size_t bytes = row_bytes(format, dim);
      std::memcpy(codes.data() + to * bytes, codes.data() + from * bytes, bytes);
      row_scales[to] = row_scales[from];
      bias[to] = bias[from];
      centroids[to] = centroids[from];
    }
  }

  RowsView view(bool residual, bool biased) const {
    RowsView v;
    v.data = codes.data();
    v.rows = rows;
    v.stride = row_bytes(format, dim);
    v.dim = dim;
    v.format = format;
    v.scales = scaled() ? row_scales.data() : nullptr;
    v.bias = biased ? bias.data() : nullptr;
    v.centroids = residual ? centroids.data() : nullptr;
    return v;
  }
  bool scaled() const { return is_integer(format) && dim > 5; }  // scales are not always there

 private:
  // Knuth's linear congruential generator: there is more to fill than split_mix has time for.
  uint32_t random() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  uint32_t random(uint32_t below) { return random() % below; }

  // Values in which a wrong order or number of roundings shows. bfloat16 ones are small integers instead,
  // whose sums no order rounds: the levels with an instruction for it do not round alike.
  void fill_floats(uint8_t* values, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const float x = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-30f;
      std::memcpy(values + 4 * i, &x, 4);
    }
  }
  void fill_bfloat16(uint8_t* values, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const uint16_t x = float_to_bfloat16(static_cast<float>(static_cast<int>(random() >> 28) * 2 - 15));
      std::memcpy(values + 2 * i, &x, 2);
    }
  }
  // Four at once. Some are the `extremes`: what saturates first are their products.
  void fill_bytes(uint8_t* values, size_t count, bool extremes, uint32_t flip) {
    for (size_t i = 0; i < count; i += 4) {
      const uint32_t bits = random();
      const uint32_t word =
          flip ^ (extremes && bits % 4 == 0 ? 0x7f7f7f7fu + (bits >> 3 & 0x01010101u) : bits);
      std::memcpy(values + i, &word, std::min<size_t>(4, count - i));
    }
  }

  uint64_t state_ = 1;
};

struct PackedBlock {
  AlignedVector<uint8_t> values;
  AlignedVector<int32_t> start = AlignedVector<int32_t>(kPanelRows);
  Panel panel;

  PackedBlock(const PanelKernels& kernel, const Block& block, int query_rows, const float* scales)
      : values(panel_groups(block.format, block.dim) * kernel.panel_group_bytes),
        panel{values.data(), start.data(), scales, query_rows} {
    kernel.pack(block.queries.data(), block.query_stride, query_rows, block.dim, values.data(), start.data());
  }
};

// Whether all scores of rows [first, rows) are those wanted, [rows][32].
bool dot_is_right(const PanelKernels& kernel, const Panel& panel, const RowsView& rows, size_t first,
                  const float* wanted) {
  AlignedVector<float> scores((rows.rows - first) * kPanelRows);
  kernel.dot(panel, rows, first, rows.rows - first, scores.data());
  bool right = true;
  for (size_t i = first; i < rows.rows; ++i) {
    for (int r = 0; r < panel.rows; ++r) {
      right = right && scores[(i - first) * kPanelRows + r] == wanted[i * kPanelRows + r];
    }
  }
  return right;
}

bool filter_is_right(const PanelKernels& kernel, const Panel& panel, const RowsView& rows, size_t first,
                     const float* wanted) {
  const size_t count = rows.rows - first;
  AlignedVector<Candidate> kept(kPanelRows * count);
  CandidateSink sink;
  for (int r = 0; r < kPanelRows; ++r) {
    sink.candidates[r] = kept.data() + r * count;
    sink.counts[r] = 0;
    sink.thresholds[r] = std::numeric_limits<float>::quiet_NaN();
  }
  for (int r = 0; r < panel.rows; ++r) {  // a score that is there, so that reaching it counts, but few do
    const float* const some = wanted + first * kPanelRows + r;
    sink.thresholds[r] = some[0];
    for (size_t i = 1; i <= count / 6; ++i)
      sink.thresholds[r] = std::max(sink.thresholds[r], some[i * kPanelRows]);
  }
  kernel.filter(panel, rows, first, count, sink);
  uint32_t found[kPanelRows] = {};
  for (size_t i = first; i < rows.rows; ++i) {
    for (int r = 0; r < panel.rows; ++r) {
      const float score = wanted[i * kPanelRows + r];
      if (!(score >= sink.thresholds[r])) continue;
      if (found[r] == sink.counts[r]) return false;
      const Candidate& c = sink.candidates[r][found[r]++];
      if (c.row != i || c.score != score) return false;
    }
  }
  return std::equal(found, found + kPanelRows, sink.counts);
}

// In two calls, which have to give what one would.
bool nearest_is_right(const PanelKernels& kernel, const Panel& panel, const RowsView& rows, size_t first,
                      const float* wanted) {
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  float best[kPanelRows];
  uint32_t row[kPanelRows];
  std::fill(best, best + kPanelRows, -kInfinity);
  std::fill(row, row + kPanelRows, kNone);
  const size_t middle = first + (rows.rows - first) / 2;
  kernel.nearest(panel, rows, first, middle - first, best, row);
  kernel.nearest(panel, rows, middle, rows.rows - middle, best, row);
  float score[kPanelRows];
  uint32_t at[kPanelRows];
  std::fill(score, score + kPanelRows, -kInfinity);
  std::fill(at, at + kPanelRows, kNone);
  for (size_t i = first; i < rows.rows; ++i) {
    for (int r = 0; r < panel.rows; ++r) {
      const bool above = wanted[i * kPanelRows + r] > score[r];
      score[r] = above ? wanted[i * kPanelRows + r] : score[r];
      at[r] = above ? static_cast<uint32_t>(i) : at[r];
    }
  }
  return std::equal(score, score + panel.rows, best) && std::equal(at, at + panel.rows, row);
}

bool maxsim_is_right(const PanelKernels& kernel, const Panel& panel, const RowsView& rows,
                     const float* wanted) {
  const size_t n = rows.rows;
  const TokenSpan texts[] = {{0, n}, {n / 2, 0}, {1, n - 1}, {n - 1, 1}, {n / 3, n / 2}};
  constexpr size_t kTexts = std::size(texts), kStride = kPanelRows + 16;
  AlignedVector<float> best(kTexts * kStride);
  kernel.maxsim(panel, rows, texts, kTexts, best.data(), kStride);
  for (size_t t = 0; t < kTexts; ++t) {
    float largest[kPanelRows];
    std::fill(largest, largest + kPanelRows, -kInfinity);
    for (size_t i = texts[t].begin; i < texts[t].begin + texts[t].count; ++i) {
      for (int r = 0; r < panel.rows; ++r) largest[r] = std::max(largest[r], wanted[i * kPanelRows + r]);
    }
    if (!std::equal(largest, largest + panel.rows, best.data() + t * kStride)) return false;
  }
  return true;
}

// For each of these numbers of query rows.
bool is_right(const PanelKernels& kernel, const PanelKernels& scalar, const Block& block,
              std::initializer_list<int> query_rows) {
  float ones[kPanelRows];
  std::fill(ones, ones + kPanelRows, 1.0f);
  const PackedBlock all(scalar, block, kPanelRows, ones);
  AlignedVector<float> plain(block.rows * kPanelRows), wanted(plain.size());
  scalar.dot(all.panel, block.view(false, false), 0, block.rows, plain.data());

  bool biased = block.rows % 4 == 1;  // by turns
  for (const int count : query_rows) {
    PackedBlock packed(kernel, block, count, block.query_scales.data());
    for (const bool residual : {false, true}) {
      if (residual && !(is_packed(block.format) && block.scaled())) continue;
      packed.panel.centroid_scores = residual ? block.centroid_scores.data() : nullptr;
      for (size_t i = 0; i < block.rows; ++i) {
        const float* const centroid = block.centroid_scores.data() + block.centroids[i] * kPanelRows;
        for (int r = 0; r < count; ++r) {
          const float score = plain[i * kPanelRows + r] + (residual ? centroid[r] : 0);
          // the other formats have no scales
          wanted[i * kPanelRows + r] = is_integer(block.format) ? score * block.query_scales[r] : score;
        }
      }
      if (!maxsim_is_right(kernel, packed.panel, block.view(residual, false), wanted.data())) return false;
      for (size_t i = 0; biased && i < block.rows; ++i) {
        for (int r = 0; r < count; ++r) wanted[i * kPanelRows + r] += block.bias[i];
      }
      const RowsView rows = block.view(residual, biased);
      const size_t first = biased ? 1 : 0;
      if (!dot_is_right(kernel, packed.panel, rows, first, wanted.data()) ||
          !filter_is_right(kernel, packed.panel, rows, first, wanted.data()) ||
          !nearest_is_right(kernel, packed.panel, rows, first, wanted.data())) {
        return false;
      }
      biased = !biased;
    }
  }
  return true;
}

}  // namespace

bool panels_are_right(const PanelKernels& kernel, const PanelKernels& scalar, Format format) {
  const auto right = [&](uint32_t dim, size_t rows, std::initializer_list<int> query_rows) {
    return is_right(kernel, scalar, Block(format, dim, rows), query_rows);
  };
  // Each of these has more than a cache line, or a block of packed codes; whole such blocks; more than a
  // block of the panel; and rows enough for four vectors of them in lanes.
  switch (format) {
    case Format::float32:
    case Format::float32_l2:
      return right(3, 81, {3, 7}) && right(19, 17, {7, 32}) && right(165, 2, {32});
    case Format::bfloat16:
      return right(3, 81, {3, 7}) && right(35, 17, {7, 32}) && right(325, 2, {32});
    case Format::int8:
      return right(5, 81, {3, 7}) && right(67, 17, {7, 32}) && right(645, 2, {32});
    case Format::int4:
    case Format::int2:
    case Format::int1:
      return right(5, 81, {3}) && right(67, 17, {3, 7}) && right(64, 17, {32}) && right(645, 2, {32});
    case Format::product:
      break;  // has no panels to multiply with
  }
  return false;
}

}  // namespace tercet
