// What a warp multiplies: stored rows, chunk by chunk, with a panel of 32 query rows.
#pragma once
#include <type_traits>

#include "core/types.h"
#include "cuda/fragments.cuh"
#include "cuda/warp.cuh"

namespace tercet::cuda {

// Rows in device memory: the bytes of csrc/core/types.h, Layout::stride() apart, zeros between.
struct Rows {
  const uint8_t* codes;
  uint32_t stride;
  const uint16_t* scales;     // of integer formats; null: 1
  const uint16_t* centroids;  // of residuals
};

// Query rows as they are multiplied.
struct Panels {
  const uint32_t* words;  // [panels][panel_words()]
  const int32_t*
      start;  // [panels][32], by column(): what sums of integers begin with, shifted where they are small
  const float* scales;           // [panels][32], by column(); 0 for padding rows
  const float* centroid_scores;  // of residuals, [panels][centroids][32], by column(), over `scales`
  uint32_t centroids;
};

// Sums of a lane: [part of the panel][row g: two query rows, row g + 8: the same two].
template <class Sum>
using Sums = Sum[4][4];

// One chunk of the two rows of a lane.
template <int kWords>
struct Chunk {
  Words<kWords> low, high;
};

// Integers and bfloat16: by the instruction.
template <Format kFormat>
struct Operands {
  using Sum = std::conditional_t<is_integer(kFormat), int32_t, float>;
  using Place = Layout<kFormat>;
  static constexpr int kWords = Place::kLaneBytes / 4;

  // Word i of what the instruction multiplies, of those a lane has of a chunk. A packed code c enters as 2 c,
  // which is what it stands for but for a constant, which the sums begin with.
  static TERCET_DEVICE uint32_t word(const Words<kWords>& loaded, uint32_t i) {
    constexpr uint32_t kBits = code_bits(kFormat);
    const uint32_t word = loaded.at[i / Place::kPlanes], plane = i % Place::kPlanes;
    if constexpr (kBits == 8) {
      return word;
    } else {
      constexpr uint32_t kMask = ((1u << kBits) - 1) * 2 * 0x01010101u;
      return (plane == 0 ? word << 1 : word >> (plane * kBits - 1)) & kMask;
    }
  }

  // A panel whose operands are read from memory, mostly the nearest cache, for every tile.
  class InMemory {
   public:
    TERCET_DEVICE void open(const uint32_t* panel) {
      vectors_ = reinterpret_cast<const Words<4>*>(panel) + lane();
    }
    TERCET_DEVICE Words<4> get(uint32_t step, uint32_t half) const {
      return load_constant(vectors_ + (step * 2 + half) * kWarp);
    }

   private:
    const Words<4>* vectors_;
  };

  // A panel that stays in registers.
  class InRegisters {
   public:
    TERCET_DEVICE void open(const uint32_t* panel) {
      const auto* const vectors = reinterpret_cast<const Words<4>*>(panel) + lane();
      TERCET_UNROLL
      for (uint32_t i = 0; i < kVectors; ++i) vectors_[i] = load_constant(vectors + i * kWarp);
    }
    TERCET_DEVICE const Words<4>& get(uint32_t step, uint32_t half) const {
      return vectors_[step * 2 + half];
    }

   private:
    static constexpr uint32_t kVectors = Place::kResidentChunks * Place::kSteps * 2;
    Words<4> vectors_[kVectors];
  };

  template <bool kResident>
  using Panel = std::conditional_t<kResident, InRegisters, InMemory>;

  // `start`: of the lane's eight query rows.
  static TERCET_DEVICE void begin(Sums<Sum>& sums, const int32_t* start) {
    if constexpr (is_integer(kFormat)) {
      const auto* const vectors = reinterpret_cast<const Words<4>*>(start);
      TERCET_UNROLL
      for (int half = 0; half < 2; ++half) {
        const Words<4> x = load_constant(vectors + half);
        TERCET_UNROLL
        for (int i = 0; i < 4; ++i) {
          int32_t (&part)[4] = sums[2 * half + i / 2];
          part[i % 2] = part[2 + i % 2] = static_cast<int32_t>(x.at[i]);
        }
      }
    } else {
      TERCET_UNROLL
      for (int i = 0; i < 16; ++i) sums[i / 4][i % 4] = 0;
    }
  }

  template <class AnyPanel>
  static TERCET_DEVICE void add(Sums<Sum>& sums, const Chunk<kWords>& rows, const AnyPanel& panel,
                                uint32_t chunk) {
    TERCET_UNROLL
    for (uint32_t step = 0; step < Place::kSteps; ++step) {
      const uint32_t a[4] = {word(rows.low, 2 * step), word(rows.high, 2 * step),
                             word(rows.low, 2 * step + 1), word(rows.high, 2 * step + 1)};
      TERCET_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        const Words<4> b = panel.get(chunk * Place::kSteps + step, half);
        multiply_add(sums[2 * half], a, b.at[0], b.at[1]);
        multiply_add(sums[2 * half + 1], a, b.at[2], b.at[3]);
      }
    }
  }
};

// float32: products one after another in the order of the dimensions, fused, as on every other processor.
template <>
struct Operands<Format::float32> {
  using Sum = float;
  using Place = Layout<Format::float32>;
  static constexpr int kWords = 4;

  class InMemory {
   public:
    TERCET_DEVICE void open(const uint32_t* panel) {
      vectors_ = reinterpret_cast<const Words<4>*>(panel) + lane() % 4 * 2;
    }
    TERCET_DEVICE Words<4> get(uint32_t k, uint32_t half) const {
      return load_constant(vectors_ + k * (kPanelRows / 4) + half);
    }

   private:
    const Words<4>* vectors_;
  };

  template <bool kResident>
  using Panel = InMemory;  // registers would not hold it

  static TERCET_DEVICE void begin(Sums<Sum>& sums, const int32_t*) {
    TERCET_UNROLL
    for (int i = 0; i < 16; ++i) sums[i / 4][i % 4] = 0;
  }

  static TERCET_DEVICE void add(Sums<Sum>& sums, const Chunk<kWords>& rows, const InMemory& panel,
                                uint32_t chunk) {
    TERCET_UNROLL
    for (uint32_t k = 0; k < 4; ++k) {
      const float low = bits_as_float(rows.low.at[k]), high = bits_as_float(rows.high.at[k]);
      TERCET_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        const Words<4> values = panel.get(chunk * 4 + k, half);
        TERCET_UNROLL
        for (uint32_t i = 0; i < 4; ++i) {
          float (&part)[4] = sums[2 * half + i / 2];
          const float value = bits_as_float(values.at[i]);
          part[i % 2] = multiply_add(value, low, part[i % 2]);
          part[2 + i % 2] = multiply_add(value, high, part[2 + i % 2]);
        }
      }
    }
  }
};

}  // namespace tercet::cuda
