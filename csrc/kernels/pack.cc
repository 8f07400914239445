#include "kernels/pack.h"

#include <cstring>

#include "core/bfloat16.h"
#include "kernels/kernels.h"

namespace tercet {
namespace {

// Calls place(row, k, pointer to element k of the row) for every element; everything else stays zero, so that
// padding rows and the missing elements of the last group contribute nothing.
template <class Place>
void for_each_element(const uint8_t* rows, size_t stride, int count, uint32_t dim, size_t element_bytes,
                      Place place) {
  for (int r = 0; r < count; ++r) {
    const uint8_t* row = rows + static_cast<size_t>(r) * stride;
    for (uint32_t k = 0; k < dim; ++k) place(r, k, row + k * element_bytes);
  }
}

size_t groups_of(uint32_t dim, uint32_t per_group) { return (dim + per_group - 1) / per_group; }

}  // namespace

void pack_float32(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                  int32_t*) noexcept {
  std::memset(panel, 0, size_t{dim} * kPanelRows * 4);
  for_each_element(rows, stride, count, dim, 4, [&](int r, uint32_t k, const uint8_t* element) {
    std::memcpy(panel + (size_t{k} * kPanelRows + r) * 4, element, 4);
  });
}

void pack_bfloat16_widened(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                           int32_t*) noexcept {
  std::memset(panel, 0, groups_of(dim, 2) * 2 * kPanelRows * 4);
  for_each_element(rows, stride, count, dim, 2, [&](int r, uint32_t k, const uint8_t* element) {
    uint16_t bits;
    std::memcpy(&bits, element, 2);
    const float value = bfloat16_to_float(bits);
    std::memcpy(panel + (size_t{k} * kPanelRows + r) * 4, &value, 4);
  });
}

void pack_bfloat16_pairs(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
                         int32_t*) noexcept {
  std::memset(panel, 0, groups_of(dim, 2) * kPanelRows * 4);
  for_each_element(rows, stride, count, dim, 2, [&](int r, uint32_t k, const uint8_t* element) {
    std::memcpy(panel + ((size_t{k / 2} * kPanelRows + r) * 2 + k % 2) * 2, element, 2);
  });
}

void pack_int8(const uint8_t* rows, size_t stride, int count, uint32_t dim, uint8_t* panel,
               int32_t* start) noexcept {
  std::memset(panel, 0, groups_of(dim, 4) * kPanelRows * 4);
  std::memset(start, 0, kPanelRows * sizeof(int32_t));
  for_each_element(rows, stride, count, dim, 1, [&](int r, uint32_t k, const uint8_t* element) {
    panel[(size_t{k / 4} * kPanelRows + r) * 4 + k % 4] = *element;
    start[r] -= 128 * static_cast<int8_t>(*element);
  });
}

}  // namespace tercet
