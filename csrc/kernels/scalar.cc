// The specification in portable C++: what every other level must equal, and what runs where there is none.
// Loops over the 32 lanes of a panel are left to the compiler's vectoriser.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "kernels/tables.h"

namespace tercet {
namespace {

// a * b + c, rounded once. Without an FMA instruction libm computes this in software at tens of nanoseconds;
// here the product of two floats is exact in double, the sum is rounded to odd there (if inexact, the last
// bit is forced to 1, so it can never look like a tie), and one more rounding gives the float: Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums", 2008.
inline float fused(float a, float b, float c) {
#if defined(FP_FAST_FMAF)
  return std::fma(a, b, c);
#else
  const double product = static_cast<double>(a) * b, addend = c;
  const double sum = product + addend;
  const double back = sum - product;
  const double error = (product - (sum - back)) + (addend - back);  // exact: Knuth's TwoSum
  const uint64_t bits = std::bit_cast<uint64_t>(sum);
  // towards the error by one unit if the last bit is even; away from zero is +1 on the bits
  const bool adjust = error != 0 && (bits & 1) == 0 && std::abs(sum) <= std::numeric_limits<double>::max();
  const uint64_t step = (error > 0) == (sum > 0) ? 1 : ~uint64_t{0};
  return static_cast<float>(std::bit_cast<double>(adjust ? bits + step : bits));
#endif
}

float element_float32(const uint8_t* row, uint32_t k) {
  return std::bit_cast<float>(static_cast<uint32_t>(row[4 * k] | row[4 * k + 1] << 8 | row[4 * k + 2] << 16) |
                              static_cast<uint32_t>(row[4 * k + 3]) << 24);
}

float element_bfloat16(const uint8_t* row, uint32_t k) {
  return std::bit_cast<float>(static_cast<uint32_t>(row[2 * k] | row[2 * k + 1] << 8) << 16);
}

// Scores of one row with all 32 lanes of a panel of floats [dim][32].
template <auto kElement>
struct Floats {
  static void scores(const Panel& panel, const RowsView& rows, size_t i, float* out) {
    const float* values = reinterpret_cast<const float*>(panel.values);
    const uint8_t* row = rows.data + i * rows.stride;
    for (int r = 0; r < kPanelRows; ++r) out[r] = 0;
    for (uint32_t k = 0; k < rows.dim; ++k) {
      const float x = kElement(row, k);
      for (int r = 0; r < kPanelRows; ++r) out[r] = fused(values[k * kPanelRows + r], x, out[r]);
    }
  }
  static float scale(const Panel&, int) { return 1; }
};

template <Format kFormat>
int32_t value(const uint8_t* row, uint32_t dim, uint32_t k) {
  if constexpr (kFormat == Format::int8) return row[k] - 128;
  constexpr int32_t kMask = (1 << code_bits(kFormat)) - 1;
  const CodePosition at = code_position(kFormat, dim, k);
  return 2 * (row[at.byte] >> at.shift & kMask) - kMask;
}

// -|q - x|^2: each difference is rounded, its square added as a product is.
struct Distance {
  static void scores(const Panel& panel, const RowsView& rows, size_t i, float* out) {
    const float* values = reinterpret_cast<const float*>(panel.values);
    const uint8_t* row = rows.data + i * rows.stride;
    for (int r = 0; r < kPanelRows; ++r) out[r] = 0;
    for (uint32_t k = 0; k < rows.dim; ++k) {
      const float x = element_float32(row, k);
      for (int r = 0; r < kPanelRows; ++r) {
        const float difference = values[k * kPanelRows + r] - x;
        out[r] = fused(difference, difference, out[r]);
      }
    }
    for (int r = 0; r < kPanelRows; ++r) out[r] = 0 - out[r];
  }
  static float scale(const Panel&, int) { return 1; }
};

template <Format kFormat>
struct Integers {
  static void scores(const Panel& panel, const RowsView& rows, size_t i, float* out) {
    const uint8_t* row = rows.data + i * rows.stride;
    const int8_t* values = reinterpret_cast<const int8_t*>(panel.values);
    int32_t sums[kPanelRows] = {};
    for (uint32_t k = 0; k < rows.dim; ++k) {
      const int32_t x = value<kFormat>(row, rows.dim, k);
      for (int r = 0; r < kPanelRows; ++r) sums[r] += values[(k / 4 * kPanelRows + r) * 4 + k % 4] * x;
    }
    const float scale = rows.scales ? std::bit_cast<float>(uint32_t{rows.scales[i]} << 16) : 1.0f;
    // a scale of 0 scores 0, not -0
    for (int r = 0; r < kPanelRows; ++r) out[r] = scale == 0 ? 0.0f : static_cast<float>(sums[r]) * scale;
    if (!panel.centroid_scores) return;
    const float* const centroid = panel.centroid_scores + rows.centroids[i] * kPanelRows;
    for (int r = 0; r < kPanelRows; ++r) out[r] += centroid[r];
  }
  static float scale(const Panel& panel, int r) { return panel.scales[r]; }
};

template <class F>
void maxsim(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts, float* best,
            size_t best_stride) noexcept {
  for (size_t i = 0; i < num_texts; ++i) {
    float running[kPanelRows], scores[kPanelRows];
    for (float& x : running) x = -std::numeric_limits<float>::infinity();
    for (size_t t = texts[i].begin; t < texts[i].begin + texts[i].count; ++t) {
      F::scores(panel, rows, t, scores);
      for (int r = 0; r < kPanelRows; ++r) running[r] = scores[r] > running[r] ? scores[r] : running[r];
    }
    for (int r = 0; r < kPanelRows; ++r) best[i * best_stride + r] = running[r] * F::scale(panel, r);
  }
}

template <class F>
void dot(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* out) noexcept {
  for (size_t i = 0; i < count; ++i) {
    float* scores = out + i * kPanelRows;
    F::scores(panel, rows, first + i, scores);
    for (int r = 0; r < kPanelRows; ++r) {
      scores[r] = scores[r] * F::scale(panel, r);
      if (rows.bias) scores[r] += rows.bias[first + i];
    }
  }
}

template <class F>
void filter(const Panel& panel, const RowsView& rows, size_t first, size_t count,
            CandidateSink& sink) noexcept {
  float scores[kPanelRows];
  for (size_t row = first; row < first + count; ++row) {
    dot<F>(panel, rows, row, 1, scores);
    for (int r = 0; r < panel.rows; ++r) {
      if (scores[r] >= sink.thresholds[r]) {
        sink.candidates[r][sink.counts[r]++] = {scores[r], static_cast<uint32_t>(row)};
      }
    }
  }
}

template <class F>
void nearest(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
             uint32_t* nearest_row) noexcept {
  float scores[kPanelRows];
  for (size_t row = first; row < first + count; ++row) {
    dot<F>(panel, rows, row, 1, scores);
    for (int r = 0; r < kPanelRows; ++r) {
      const bool above = scores[r] > best[r];
      best[r] = above ? scores[r] : best[r];
      nearest_row[r] = above ? static_cast<uint32_t>(row) : nearest_row[r];
    }
  }
}

// Multiply-adds of one row with a panel, over and over.
template <class F>
size_t peak(size_t rounds) noexcept {
  constexpr uint32_t kDim = 64;
  alignas(64) static const uint8_t zeros[kDim * kPanelRows * 4] = {};
  static const float ones[kPanelRows] = {};
  const Panel panel{zeros, reinterpret_cast<const int32_t*>(zeros), ones, kPanelRows};
  const RowsView rows{zeros, 1, kDim * 4, kDim};
  volatile float sink = 0;
  float scores[kPanelRows];
  for (size_t n = 0; n < rounds; ++n) {
    F::scores(panel, rows, 0, scores);
    sink = scores[0];
  }
  (void)sink;
  return rounds * kDim * kPanelRows;
}

template <class F>
constexpr PanelKernels panel_kernels(const char* name, size_t group_bytes,
                                     decltype(PanelKernels::pack) pack) {
  return {name, group_bytes, pack, maxsim<F>, dot<F>, filter<F>, nearest<F>, peak<F>};
}

template <Format kFormat>
constexpr PanelKernels integer_kernels() {
  return panel_kernels<Integers<kFormat>>("scalar", kPanelRows * 4, pack_integers<kFormat>);
}

float load1(const float* p) { return *p; }
float load1(const uint16_t* p) { return std::bit_cast<float>(uint32_t{*p} << 16); }

template <class T>
float pair(const T* a, const T* b, size_t dim) noexcept {
  float lanes[32] = {};
  for (size_t k = 0; k < dim; ++k) lanes[k % 32] = fused(load1(a + k), load1(b + k), lanes[k % 32]);
  for (int half = 16; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

float pair_distance(const float* a, const float* b, size_t dim) noexcept {
  float lanes[32] = {};
  for (size_t k = 0; k < dim; ++k) {
    const float difference = a[k] - b[k];
    lanes[k % 32] = fused(difference, difference, lanes[k % 32]);
  }
  for (int half = 16; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return 0 - lanes[0];
}

int32_t pair_int8(const int8_t* query, const uint8_t* row, size_t dim) noexcept {
  int32_t sum = 0;
  for (size_t k = 0; k < dim; ++k) sum += query[k] * row[k];
  return sum;
}

void rows_int8(const int8_t* query, const uint8_t* rows, size_t stride, const uint32_t* ids, size_t count,
               size_t dim, int32_t* sums) noexcept {
  for (size_t i = 0; i < count; ++i) sums[i] = pair_int8(query, rows + ids[i] * stride, dim);
}

void maxsim_product(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num_texts,
                    float* best, size_t best_stride) noexcept {
  const int16_t* const table = reinterpret_cast<const int16_t*>(panel.values);
  constexpr size_t kCentroid = size_t{kProductParts} * kProductEntries;  // the row of the first one
  for (size_t i = 0; i < num_texts; ++i) {
    int16_t most[kPanelRows];
    for (size_t t = texts[i].begin; t < texts[i].begin + texts[i].count; ++t) {
      int16_t sums[kPanelRows] = {};
      const auto add = [&](size_t row) {
        for (int r = 0; r < kPanelRows; ++r) {
          sums[r] = static_cast<int16_t>(sums[r] + table[row * kPanelRows + r]);
        }
      };
      for (size_t m = 0; m < kProductParts; ++m) add(m * kProductEntries + rows.row(t)[m]);
      if (rows.centroids) add(kCentroid + rows.centroids[t]);
      for (int r = 0; r < kPanelRows; ++r) {
        most[r] = t == texts[i].begin || sums[r] > most[r] ? sums[r] : most[r];
      }
    }
    for (int r = 0; r < kPanelRows; ++r) {
      best[i * best_stride + r] = texts[i].count ? static_cast<float>(most[r]) * panel.scales[r]
                                                 : -std::numeric_limits<float>::infinity();
    }
  }
}

#include "kernels/best_grid-inl.h"

constexpr uint32_t kColumns = 16, kRows = 8;

// The first four rounds of butterflies, whose partners are less than 16 apart, of kRows rows of 16:
// transposed, so that a row of partners is a vector.
void near_butterflies(float* v) {
  float t[kColumns][kRows];
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) t[c][r] = v[r * kColumns + c];
  }
  for (uint32_t half = 1; half < kColumns; half *= 2) {
    for (uint32_t c = 0; c < kColumns; ++c) {
      if (c & half) continue;
      for (uint32_t r = 0; r < kRows; ++r) {
        const float a = t[c][r], b = t[c + half][r];
        t[c][r] = a + b;
        t[c + half][r] = a - b;
      }
    }
  }
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) v[r * kColumns + c] = t[c][r];
  }
}

void hadamard(float* v, uint32_t n) noexcept {
  uint32_t first = 1;
  if (n >= kColumns * kRows) {
    for (uint32_t i = 0; i < n; i += kColumns * kRows) near_butterflies(v + i);
    first = kColumns;
  }
  for (uint32_t half = first; half < n; half *= 2) {
    for (uint32_t i = 0; i < n; i += 2 * half) {
      for (uint32_t k = i; k < i + half; ++k) {
        const float a = v[k], b = v[k + half];
        v[k] = a + b;
        v[k + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(n));
  for (uint32_t k = 0; k < n; ++k) v[k] *= scale;
}

template <int kBits>
GridFit fit_grid_of(const float* x, uint32_t dim) {
  constexpr int kMost = (1 << kBits) - 1;
  const uint32_t padded = (dim + kGridLanes - 1) / kGridLanes * kGridLanes;
  BestGrid best(padded - dim);
  for (int width = 0; width < (kBits == 1 ? 1 : kGridWidths); ++width) {
    const float inverse = grid_inverse_step(kBits, width);
    float products[kGridLanes] = {}, squares[kGridLanes] = {};
    for (uint32_t k = 0; k < padded; k += kGridLanes) {
      for (uint32_t l = 0; l < kGridLanes; ++l) {
        const auto value = static_cast<float>(2 * grid_code(x[k + l], inverse, kBits) - kMost);
        products[l] += x[k + l] * value;
        squares[l] += value * value;
      }
    }
    best.offer(inverse, products, squares);
  }
  return best.fit;
}

GridFit fit_grid(const float* x, uint32_t dim, int bits) noexcept {
  return bits == 4 ? fit_grid_of<4>(x, dim) : bits == 2 ? fit_grid_of<2>(x, dim) : fit_grid_of<1>(x, dim);
}

bool all_finite(Format format, const uint8_t* values, size_t count) noexcept {
  if (is_integer(format)) return true;
  const size_t bytes = row_bytes(format, 1);
  // An exponent of all ones is an infinity or a NaN; the upper two bytes of either format hold it.
  bool finite = true;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* upper = values + i * bytes + (bytes - 2);
    finite = finite && ((upper[0] | upper[1] << 8) & 0x7f80) != 0x7f80;
  }
  return finite;
}

uint64_t read(const uint8_t* data, size_t bytes) noexcept {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes; ++i) sum += data[i];
  return sum;
}

}  // namespace

const Kernels kScalarKernels = {
    Isa::scalar,
    {
        panel_kernels<Floats<element_float32>>("scalar", kPanelRows * 4, pack_float32),
        panel_kernels<Floats<element_bfloat16>>("scalar", kPanelRows * 8, pack_bfloat16_widened),
        integer_kernels<Format::int8>(),
        integer_kernels<Format::int4>(),
        integer_kernels<Format::int2>(),
        integer_kernels<Format::int1>(),
        panel_kernels<Distance>("scalar", kPanelRows * 4, pack_float32),
    },
    pair<float>,
    pair_distance,
    pair<uint16_t>,
    pair_int8,
    rows_int8,
    maxsim_product,
    hadamard,
    fit_grid,
    all_finite,
    read,
};

}  // namespace tercet
