// The check of the kernels at load sees each kind of mistake, and takes the next level's kernel instead.
#include "kernels/selfcheck.h"

#include <algorithm>
#include <cstring>

#include "check.h"
#include "cpu/features.h"

using namespace tercet;

namespace {

// Levels from `isa` down to scalar.
std::vector<const Kernels*> levels_from(Isa isa) {
  std::vector<const Kernels*> levels;
  for (const Isa one : supported_isas()) {
    levels.insert(levels.begin(), &kernels_for(one));
    if (one == isa) break;
  }
  return levels;
}

// The kernels below call the right ones, which they find here, and then do something wrong.
PanelKernels right;

void last_bit(float& x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits ^= 1;
  std::memcpy(&x, &bits, 4);
}

void pack_shifted(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                  int32_t* start) noexcept {
  right.pack(rows, stride, count, dim, panel, start);
  if (dim > 64) panel[64 / 4 * kPanelRows * 4 + 3] ^= 1;
}
void dot_in_other_roundings(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                            float* scores) noexcept {
  right.dot(panel, rows, first, count, scores);
  if (panel.rows > 4 && count > 4) last_bit(scores[3 * kPanelRows + 4]);
}
void dot_of_the_wrong_rows(const Panel& panel, const RowsView& rows, size_t, size_t count,
                           float* scores) noexcept {
  right.dot(panel, rows, 0, count, scores);
}
void dot_without_bias(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                      float* scores) noexcept {
  RowsView view = rows;
  view.bias = nullptr;
  right.dot(panel, view, first, count, scores);
}
void maxsim_without_the_last(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num,
                             float* best, size_t best_stride) noexcept {
  for (size_t i = 0; i < num; ++i) {
    const TokenSpan some{texts[i].begin, texts[i].count - (texts[i].count > 0)};
    right.maxsim(panel, rows, &some, 1, best + i * best_stride, best_stride);
  }
}
void maxsim_without_centroids(const Panel& panel, const RowsView& rows, const TokenSpan* texts, size_t num,
                              float* best, size_t best_stride) noexcept {
  Panel without = panel;
  without.centroid_scores = nullptr;
  right.maxsim(without, rows, texts, num, best, best_stride);
}
void filter_above_the_threshold(const Panel& panel, const RowsView& rows, size_t first, size_t count,
                                CandidateSink& sink) noexcept {
  right.filter(panel, rows, first, count, sink);
  for (int r = 0; r < panel.rows; ++r) {
    auto* const end = std::remove_if(sink.candidates[r], sink.candidates[r] + sink.counts[r],
                                     [&](const Candidate& c) { return c.score == sink.thresholds[r]; });
    sink.counts[r] = static_cast<uint32_t>(end - sink.candidates[r]);
  }
}
void nearest_is_the_last(const Panel& panel, const RowsView& rows, size_t first, size_t count, float* best,
                         uint32_t* row) noexcept {
  std::vector<float> scores(count * kPanelRows);
  right.dot(panel, rows, first, count, scores.data());
  for (size_t i = 0; i < count; ++i) {
    for (int r = 0; r < panel.rows; ++r) {
      if (scores[i * kPanelRows + r] < best[r]) continue;
      best[r] = scores[i * kPanelRows + r];
      row[r] = static_cast<uint32_t>(first + i);
    }
  }
}

float pair_wrong(const float* a, const float* b, size_t dim) noexcept {
  float score = kernels_for(Isa::scalar).pair_float32(a, b, dim);
  if (dim > 32) last_bit(score);
  return score;
}
int32_t pair_int8_wrong(const int8_t* query, const uint8_t* row, size_t dim) noexcept {
  return kernels_for(Isa::scalar).pair_int8(query, row, dim) - (dim ? query[dim - 1] : 0);
}
void hadamard_wrong(float* v, uint32_t n) noexcept {
  kernels_for(Isa::scalar).hadamard(v, n);
  if (n > 16) last_bit(v[17]);
}
GridFit fit_grid_wrong(const float* x, uint32_t dim, int bits) noexcept {
  return kernels_for(Isa::scalar).fit_grid(x, dim > 16 ? dim - 16 : dim, bits);
}
bool finite_wrong(Format format, const uint8_t* values, size_t count) noexcept {
  return kernels_for(Isa::scalar).all_finite(format, values, count - count % 16);
}

// What is dropped of the highest level if `spoil` has changed the kernels of a format.
template <class Spoil>
void drops(Format format, Spoil spoil) {
  const auto levels = levels_from(supported_isas().back());
  Kernels wrong = *levels.front();
  PanelKernels& kernel = wrong.panels[static_cast<int>(format)];
  right = kernel;
  spoil(kernel);
  kernel.name = "wrong";
  std::vector<const Kernels*> with = levels;
  with.insert(with.begin(), &wrong);
  const CheckedKernels checked(with);
  const char* const name = kFormatNames[static_cast<int>(format)];
  CHECK(checked.dropped() == std::vector<std::string>{std::string(name) + ": wrong"});
  const PanelKernels& got = checked.table().panel(format);
  CHECK(got.pack == right.pack && got.dot == right.dot && got.maxsim == right.maxsim);
  CHECK(got.filter == right.filter && got.nearest == right.nearest);
  CHECK(got.name == std::string(right.name) + " (wrong failed its check)");
}

}  // namespace

TEST(every_level_passes_its_check) {
  for (const Isa isa : supported_isas()) {
    const CheckedKernels checked(levels_from(isa));
    CHECK(checked.dropped().empty());
    CHECK(checked.table().isa == isa);
    for (int i = 0; i < kFormats; ++i) CHECK(checked.table().panels[i].dot == kernels_for(isa).panels[i].dot);
  }
  CHECK(checked_kernels().dropped().empty());
  CHECK(&kernels() == &checked_kernels().table());
}

TEST(wrong_kernels_are_dropped) {
  for (int i = 0; i < kFormats; ++i) {
    const auto format = static_cast<Format>(i);
    drops(format, [](PanelKernels& k) { k.pack = pack_shifted; });
    drops(format, [](PanelKernels& k) { k.dot = dot_in_other_roundings; });
    drops(format, [](PanelKernels& k) { k.dot = dot_of_the_wrong_rows; });
    drops(format, [](PanelKernels& k) { k.dot = dot_without_bias; });
    drops(format, [](PanelKernels& k) { k.maxsim = maxsim_without_the_last; });
    drops(format, [](PanelKernels& k) { k.filter = filter_above_the_threshold; });
    drops(format, [](PanelKernels& k) { k.nearest = nearest_is_the_last; });
    if (is_packed(format)) drops(format, [](PanelKernels& k) { k.maxsim = maxsim_without_centroids; });
  }
}

TEST(wrong_functions_are_dropped) {
  Kernels wrong = kernels_for(supported_isas().back());
  wrong.pair_float32 = pair_wrong;
  wrong.pair_int8 = pair_int8_wrong;
  wrong.hadamard = hadamard_wrong;
  wrong.fit_grid = fit_grid_wrong;
  wrong.all_finite = finite_wrong;
  const CheckedKernels checked({&wrong, &kernels_for(Isa::scalar)});
  const std::string isa = isa_name(wrong.isa);
  CHECK((checked.dropped() == std::vector<std::string>{"pair_float32: " + isa, "pair_int8: " + isa,
                                                       "hadamard: " + isa, "fit_grid: " + isa,
                                                       "all_finite: " + isa}));
  const Kernels& scalar = kernels_for(Isa::scalar);
  CHECK(checked.table().pair_float32 == scalar.pair_float32 && checked.table().pair_int8 == scalar.pair_int8);
  CHECK(checked.table().pair_bfloat16 == wrong.pair_bfloat16);
  CHECK(checked.table().hadamard == scalar.hadamard && checked.table().fit_grid == scalar.fit_grid);
  CHECK(checked.table().all_finite == scalar.all_finite);
}

TEST(below_wrong_kernels_the_next_level_is_checked_too) {
  const Kernels& scalar = kernels_for(Isa::scalar);
  Kernels wrong = kernels_for(supported_isas().back()), below = scalar;
  right = scalar.panel(Format::int8);
  for (Kernels* table : {&wrong, &below}) {
    PanelKernels& kernel = table->panels[static_cast<int>(Format::int8)];
    kernel = right;
    kernel.name = table == &wrong ? "upper" : "lower";
    kernel.dot = table == &wrong ? dot_without_bias : dot_of_the_wrong_rows;
  }
  const CheckedKernels checked({&wrong, &below, &scalar});
  CHECK((checked.dropped() == std::vector<std::string>{"int8: upper", "int8: lower"}));
  CHECK(checked.table().panel(Format::int8).dot == right.dot);
}
