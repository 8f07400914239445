// What packed codes are made with: the rotation's Hadamard transform and the fit of a grid, values in lanes.
// Included inside an anonymous namespace after Vec and its Lanes.
//
// A transform of 256 values is 8 rounds of 16 vectors of 16 lanes, one addition and, where partners are lanes
// of one vector, one shuffle each; all of it stays in L1. A grid costs nine operations per vector and width.

#include "kernels/best_grid-inl.h"

constexpr struct Signs {
  alignas(64) float of[4][16] = {};  // [h][i]: -1 where i has the bit 1 << h
  constexpr Signs() {
    for (int h = 0; h < 4; ++h) {
      for (int i = 0; i < 16; ++i) of[h][i] = i >> h & 1 ? -1.0f : 1.0f;
    }
  }
} kSigns;

// With half = 1 << kBit: v[i] + v[i ^ half], and where i has that bit v[i ^ half] - v[i], as a sum with the
// negated value, which is the same bits.
template <int kBit>
TERCET_INLINE Vec butterfly(Vec v) {
  return vec_add(Lanes::swap<1 << kBit>(v), Lanes::mul(v, vec_load(kSigns.of[kBit])));
}

TERCET_INLINE Vec near_butterflies(Vec v) {
  v = butterfly<1>(butterfly<0>(v));
  if constexpr (Lanes::kCount > 4) v = butterfly<2>(v);
  if constexpr (Lanes::kCount > 8) v = butterfly<3>(v);
  return v;
}

void hadamard(float* v, uint32_t n) noexcept {
  constexpr uint32_t kCount = Lanes::kCount;
  if (n < kCount) return kScalarKernels.hadamard(v, n);
  for (uint32_t i = 0; i < n; i += kCount) vec_store(v + i, near_butterflies(vec_load(v + i)));
  for (uint32_t half = kCount; half < n; half *= 2) {
    for (uint32_t i = 0; i < n; i += 2 * half) {
      for (uint32_t k = i; k < i + half; k += kCount) {
        const Vec a = vec_load(v + k), b = vec_load(v + k + half);
        vec_store(v + k, vec_add(a, b));
        vec_store(v + k + half, Lanes::sub(a, b));
      }
    }
  }
  const Vec scale = vec_set1(1.0f / __builtin_sqrtf(static_cast<float>(n)));
  for (uint32_t k = 0; k < n; k += kCount) vec_store(v + k, Lanes::mul(vec_load(v + k), scale));
}

// kTogether grids at a time, so that the additions of one do not wait for each other.
template <int kTogether>
TERCET_INLINE void fit_grids(const float* x, uint32_t padded, int bits, int first, float* products,
                             float* squares) {
  constexpr int kVectors = static_cast<int>(kGridLanes) / Lanes::kCount;
  const Vec half = vec_set1(static_cast<float>(1 << (bits - 1)));
  const auto most = static_cast<float>((1 << bits) - 1);
  Vec product[kTogether][kVectors], square[kTogether][kVectors], inverse[kTogether];
  TERCET_UNROLL for (int w = 0; w < kTogether; ++w) {
    inverse[w] = vec_set1(grid_inverse_step(bits, first + w));
    TERCET_UNROLL for (int j = 0; j < kVectors; ++j) product[w][j] = square[w][j] = vec_set1(0);
  }
  for (uint32_t k = 0; k < padded; k += kGridLanes) {
    TERCET_UNROLL for (int j = 0; j < kVectors; ++j) {
      const Vec y = vec_load(x + k + j * Lanes::kCount);
      TERCET_UNROLL for (int w = 0; w < kTogether; ++w) {
        const Vec code = Lanes::truncate_to(vec_add(Lanes::mul(y, inverse[w]), half), most);
        const Vec value = Lanes::fused(code, vec_set1(2), vec_set1(-most));  // exact, as squares are
        product[w][j] = vec_add(product[w][j], Lanes::mul(y, value));
        square[w][j] = Lanes::fused(value, value, square[w][j]);
      }
    }
  }
  TERCET_UNROLL for (int w = 0; w < kTogether; ++w) {
    TERCET_UNROLL for (int j = 0; j < kVectors; ++j) {
      vec_store(products + w * kGridLanes + j * Lanes::kCount, product[w][j]);
      vec_store(squares + w * kGridLanes + j * Lanes::kCount, square[w][j]);
    }
  }
}

GridFit fit_grid(const float* x, uint32_t dim, int bits) noexcept {
  constexpr int kTogether = Lanes::kGrids;
  const uint32_t padded = (dim + kGridLanes - 1) / kGridLanes * kGridLanes;
  alignas(64) float products[kTogether * kGridLanes], squares[kTogether * kGridLanes];
  BestGrid best(padded - dim);
  if (bits == 1) {
    fit_grids<1>(x, padded, bits, 0, products, squares);
    best.offer(grid_inverse_step(bits, 0), products, squares);
    return best.fit;
  }
  for (int first = 0; first < kGridWidths; first += kTogether) {
    fit_grids<kTogether>(x, padded, bits, first, products, squares);
    for (int w = 0; w < kTogether; ++w) {
      best.offer(grid_inverse_step(bits, first + w), products + w * kGridLanes, squares + w * kGridLanes);
    }
  }
  return best.fit;
}
