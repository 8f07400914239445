#include "kernels/selfcheck.h"

#include <algorithm>
#include <iterator>
#include <type_traits>

#include "core/aligned.h"
#include "core/bfloat16.h"
#include "core/random.h"
#include "cpu/features.h"

namespace tercet {
namespace {

constexpr size_t kPairDims[] = {1, 31, 67, 131};

template <class T>
struct Pair {
  std::vector<T> a, b;
  explicit Pair(size_t dim) : a(dim), b(dim) {
    uint64_t state = dim;
    for (auto* values : {&a, &b}) {
      for (T& x : *values) {
        const uint64_t bits = split_mix(state);
        const float real = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-30f;
        if constexpr (std::is_same_v<T, float>) {
          x = real;
        } else if constexpr (std::is_same_v<T, uint16_t>) {
          x = float_to_bfloat16(real);
        } else {
          x = static_cast<T>(bits);
        }
      }
    }
  }
};

template <class T>
bool pair_is_right(float (*pair)(const T*, const T*, size_t) noexcept,
                   float (*scalar)(const T*, const T*, size_t) noexcept) {
  return std::ranges::all_of(kPairDims, [&](size_t dim) {
    const Pair<T> p(dim);
    return pair(p.a.data(), p.b.data(), dim) == scalar(p.a.data(), p.b.data(), dim);
  });
}

bool pair_int8_is_right(decltype(Kernels::pair_int8) pair, decltype(Kernels::pair_int8) scalar) {
  return std::ranges::all_of(kPairDims, [&](size_t dim) {
    const Pair<uint8_t> p(dim);
    const auto* const query = reinterpret_cast<const int8_t*>(p.a.data());
    return pair(query, p.b.data(), dim) == scalar(query, p.b.data(), dim);
  });
}

// With few of the entries, the first and the last of each part: to fill the table would take too long.
bool maxsim_product_is_right(MaxSim maxsim, MaxSim scalar) {
  constexpr size_t kRows = 37, kCentroids = 5,
                   kTableRows = size_t{kProductParts} * kProductEntries + kCentroids;
  AlignedVector<int16_t> table(kTableRows * kPanelRows);
  std::vector<uint8_t> codes(kRows * kProductParts);
  std::vector<uint16_t> centroids(kRows);
  uint64_t state = 1;
  const auto fill_row = [&](size_t row) {
    for (int r = 0; r < kPanelRows; ++r) {  // 17 of them stay within 16 bits
      table[row * kPanelRows + r] = static_cast<int16_t>(static_cast<int>(split_mix(state) % 3855) - 1927);
    }
  };
  for (size_t m = 0; m < kProductParts; ++m) {
    for (const size_t entry : {0u, 1u, 127u, 128u, 255u}) fill_row(m * kProductEntries + entry);
  }
  for (size_t c = 0; c < kCentroids; ++c) fill_row(size_t{kProductParts} * kProductEntries + c);
  constexpr uint8_t kEntries[] = {0, 1, 127, 128, 255};
  for (uint8_t& code : codes) code = kEntries[split_mix(state) % std::size(kEntries)];
  for (uint16_t& c : centroids) c = static_cast<uint16_t>(split_mix(state) % kCentroids);

  float scales[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) scales[r] = 0.37f * static_cast<float>(1 + r);
  const Panel panel{reinterpret_cast<const uint8_t*>(table.data()), nullptr, scales, kPanelRows};
  RowsView rows{codes.data(), kRows, kProductParts, 128, Format::product};
  const TokenSpan texts[] = {{0, kRows}, {3, 0}, {1, 5}, {kRows - 1, 1}};
  constexpr size_t kTexts = std::size(texts);
  for (const bool residual : {true, false}) {
    rows.centroids = residual ? centroids.data() : nullptr;
    float wanted[kTexts * kPanelRows], got[kTexts * kPanelRows];
    scalar(panel, rows, texts, kTexts, wanted, kPanelRows);
    maxsim(panel, rows, texts, kTexts, got, kPanelRows);
    if (!std::equal(wanted, wanted + kTexts * kPanelRows, got)) return false;
  }
  return true;
}

bool rows_int8_is_right(decltype(Kernels::rows_int8) rows_int8, decltype(Kernels::rows_int8) scalar) {
  constexpr uint32_t kIds[] = {6, 0, 3, 3, 5, 1, 2};
  constexpr size_t kCount = std::size(kIds), kStride = 140;
  return std::ranges::all_of(kPairDims, [&](size_t dim) {
    const Pair<uint8_t> p(kStride * kCount);
    const auto* const query = reinterpret_cast<const int8_t*>(p.a.data());
    int32_t sums[kCount], wanted[kCount];
    rows_int8(query, p.b.data(), kStride, kIds, kCount, dim, sums);
    scalar(query, p.b.data(), kStride, kIds, kCount, dim, wanted);
    return std::equal(wanted, wanted + kCount, sums);
  });
}

bool hadamard_is_right(decltype(Kernels::hadamard) hadamard, decltype(Kernels::hadamard) scalar) {
  constexpr uint32_t kSizes[] = {1, 2, 4, 8, 16, 64, 256};
  return std::ranges::all_of(kSizes, [&](uint32_t n) {
    Pair<float> p(n);
    p.b = p.a;
    hadamard(p.a.data(), n);
    scalar(p.b.data(), n);
    return p.a == p.b;
  });
}

bool fit_grid_is_right(decltype(Kernels::fit_grid) fit_grid, decltype(Kernels::fit_grid) scalar) {
  constexpr int kBits[] = {1, 2, 4};
  return std::ranges::all_of(kPairDims, [&](size_t dim) {
    Pair<float> p(dim);
    for (float& x : p.a) x *= 0.5f;  // within +-1
    p.a.resize((dim + kGridLanes - 1) / kGridLanes * kGridLanes);
    return std::ranges::all_of(kBits, [&](int bits) {
      const GridFit got = fit_grid(p.a.data(), static_cast<uint32_t>(dim), bits);
      const GridFit wanted = scalar(p.a.data(), static_cast<uint32_t>(dim), bits);
      return got.inverse_step == wanted.inverse_step && got.product == wanted.product;
    });
  });
}

bool all_finite_is_right(decltype(Kernels::all_finite) check, decltype(Kernels::all_finite)) {
  constexpr size_t kCount = 75;  // vectors of any width, and what is left over
  constexpr uint32_t kLargest = 0xff7fffff, kBad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f810000};
  std::vector<uint32_t> floats(kCount, kLargest);
  std::vector<uint16_t> halves(kCount, kLargest >> 16);
  const auto finite = [&](bool wide) {
    const void* const data = wide ? static_cast<const void*>(floats.data()) : halves.data();
    return check(wide ? Format::float32 : Format::bfloat16, static_cast<const uint8_t*>(data), kCount);
  };
  if (!finite(true) || !finite(false)) return false;
  for (size_t i = 0; i < kCount; ++i) {
    floats[i] = kBad[i % 4];
    halves[i] = static_cast<uint16_t>(kBad[i % 4] >> 16);
    if (finite(true) || finite(false)) return false;
    floats[i] = 0x3f800000;
    halves[i] = 0x3f80;
  }
  return true;
}

bool same_functions(const PanelKernels& a, const PanelKernels& b) {
  return a.pack == b.pack && a.maxsim == b.maxsim && a.dot == b.dot && a.filter == b.filter &&
         a.nearest == b.nearest;
}

}  // namespace

CheckedKernels::CheckedKernels(const std::vector<const Kernels*>& levels) : table_(*levels.front()) {
  for (int i = 0; i < kFormats; ++i) choose_panels(static_cast<Format>(i), levels);
  choose(&Kernels::pair_float32, "pair_float32", levels, pair_is_right<float>);
  choose(&Kernels::pair_float32_l2, "pair_float32_l2", levels, pair_is_right<float>);
  choose(&Kernels::pair_bfloat16, "pair_bfloat16", levels, pair_is_right<uint16_t>);
  choose(&Kernels::pair_int8, "pair_int8", levels, pair_int8_is_right);
  choose(&Kernels::rows_int8, "rows_int8", levels, rows_int8_is_right);
  choose(&Kernels::maxsim_product, "maxsim_product", levels, maxsim_product_is_right);
  choose(&Kernels::hadamard, "hadamard", levels, hadamard_is_right);
  choose(&Kernels::fit_grid, "fit_grid", levels, fit_grid_is_right);
  choose(&Kernels::all_finite, "all_finite", levels, all_finite_is_right);
}

void CheckedKernels::choose_panels(Format format, const std::vector<const Kernels*>& levels) {
  const PanelKernels& scalar = levels.back()->panel(format);
  PanelKernels& chosen = table_.panels[static_cast<int>(format)];
  const char* const wanted = chosen.name;
  bool failed = false;
  const PanelKernels* tried = nullptr;
  for (const Kernels* level : levels) {
    const PanelKernels& kernel = level->panel(format);
    if (tried && same_functions(kernel, *tried)) continue;  // a level has what it does not change from below
    tried = &kernel;
    if (same_functions(kernel, scalar) || panels_are_right(kernel, scalar, format)) break;
    failed = true;
    dropped_.push_back(std::string(kFormatNames[static_cast<int>(format)]) + ": " + kernel.name);
  }
  if (!failed) return;
  chosen = *tried;
  names_.push_back(std::string(chosen.name) + " (" + wanted + " failed its check)");
  chosen.name = names_.back().c_str();
}

template <class Function, class Right>
void CheckedKernels::choose(Function Kernels::* member, const char* name,
                            const std::vector<const Kernels*>& levels, Right right) {
  const Function scalar = levels.back()->*member;
  Function tried = nullptr;
  for (const Kernels* level : levels) {
    if (level->*member == tried) continue;
    tried = level->*member;
    if (tried == scalar || right(tried, scalar)) break;
    dropped_.push_back(std::string(name) + ": " + isa_name(level->isa));
  }
  table_.*member = tried;
}

}  // namespace tercet
