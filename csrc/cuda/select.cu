// The best k of many values: greater first, of equal ones the one that comes first. One block finds the k-th
// largest by its digits, from the top, and collects what is above it and, of what equals it, the first ones.
#include "cuda/select.h"

#include <limits>

#include "cuda/launches.h"
#include "cuda/warp.cuh"

namespace tercet::cuda {
namespace {

constexpr uint32_t kSelectThreads = 256;
constexpr uint32_t kSelectWarps = kSelectThreads / kWarp;

// A float's place in the order of all floats, and of NaNs below them. -0 and +0 are equal.
TERCET_DEVICE uint32_t order_of(float x) {
  if (x != x) return 0;
  const uint32_t bits = float_as_bits(add(x, 0.0f));
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// What a block shares while it selects.
struct SelectScratch {
  uint32_t counts[256];  // values by a digit
  uint32_t warp_counts[2][kSelectWarps];
  uint32_t digit, above;
};

// Positions of the best `k` <= n values, ascending, to `chosen`.
TERCET_DEVICE void select(const float* values, uint64_t n, uint32_t k, SelectScratch& s, uint32_t* chosen) {
  uint32_t prefix = 0, mask = 0, wanted = k;  // the wanted-th of those that begin with prefix
  for (int shift = 24; shift >= 0; shift -= 8) {
    s.counts[thread()] = 0;
    synchronise_block();
    for (uint64_t i = thread(); i < n; i += kSelectThreads) {
      const uint32_t key = order_of(values[i]);
      if ((key & mask) == prefix) atomic_add(&s.counts[key >> shift & 255], 1);
    }
    synchronise_block();
    if (thread() == 0) {
      uint32_t digit = 255, above = 0;
      while (above + s.counts[digit] < wanted) above += s.counts[digit--];
      s.digit = digit;
      s.above = above;
    }
    synchronise_block();
    prefix |= s.digit << shift;
    mask |= 255u << shift;
    wanted -= s.above;
  }
  // In the order of positions: all above the k-th, and the first `wanted` that equal it.
  uint32_t placed = 0, equals = 0;
  for (uint64_t i0 = 0; i0 < n && placed < k; i0 += kSelectThreads) {
    const uint64_t i = i0 + thread();
    const uint32_t key = i < n ? order_of(values[i]) : 0;
    const uint32_t greater = ballot(i < n && key > prefix), equal = ballot(i < n && key == prefix);
    if (lane() == 0) {
      s.warp_counts[0][warp()] = count_bits(greater);
      s.warp_counts[1][warp()] = count_bits(equal);
    }
    synchronise_block();
    uint32_t before[2] = {0, 0}, all[2] = {0, 0};  // of earlier warps, and of all
    for (uint32_t w = 0; w < kSelectWarps; ++w) {
      for (int c = 0; c < 2; ++c) {
        before[c] += w < warp() ? s.warp_counts[c][w] : 0;
        all[c] += s.warp_counts[c][w];
      }
    }
    const uint32_t lower = (1u << lane()) - 1;
    const uint32_t earlier = equals + before[1] + count_bits(equal & lower);  // equals before this one
    const uint32_t taken = earlier < wanted ? earlier : wanted;
    const bool is_greater = greater >> lane() & 1, is_equal = equal >> lane() & 1;
    const uint32_t at =
        placed - (equals < wanted ? equals : wanted) + before[0] + count_bits(greater & lower);
    if (is_greater || (is_equal && earlier < wanted)) chosen[at + taken] = static_cast<uint32_t>(i);
    const uint32_t after = equals + all[1];
    placed += all[0] + (after < wanted ? after : wanted) - (equals < wanted ? equals : wanted);
    equals = after;
    synchronise_block();
  }
}

// Sorts `size` keys, a power of two, descending: Batcher's bitonic network.
TERCET_DEVICE void sort_descending(uint64_t* keys, uint32_t size) {
  for (uint32_t run = 2; run <= size; run *= 2) {
    for (uint32_t apart = run / 2; apart > 0; apart /= 2) {
      synchronise_block();
      for (uint32_t i = thread(); i < size / 2; i += threads()) {
        const uint32_t a = i / apart * 2 * apart + i % apart, b = a + apart;
        const bool descending = (a & run) == 0;
        const uint64_t x = keys[a], y = keys[b];
        if ((x < y) == descending) keys[a] = y, keys[b] = x;
      }
    }
  }
  synchronise_block();
}

constexpr uint32_t power_at_least(uint32_t x) {
  uint32_t power = 1;
  while (power < x) power *= 2;
  return power;
}

TERCET_KERNEL(kSelectThreads, 2)
choose_bins_kernel(ChooseBinsArguments a) {
  const uint64_t query = block_x();
  select(a.best + query * a.bins, a.bins, a.chosen, *shared_memory<SelectScratch>(),
         a.numbers + query * a.chosen);
}

constexpr size_t rank_shared(uint32_t k) {
  return (sizeof(SelectScratch) + 15) / 16 * 16 + power_at_least(k) * (sizeof(uint64_t) + sizeof(uint32_t));
}

TERCET_KERNEL(kSelectThreads, 2)
rank_kernel(RankArguments a) {
  uint8_t* const shared = shared_memory<uint8_t>();
  const uint32_t kept = a.k < a.n ? a.k : static_cast<uint32_t>(a.n), size = power_at_least(a.k);
  auto* const keys = reinterpret_cast<uint64_t*>(shared + (sizeof(SelectScratch) + 15) / 16 * 16);
  auto* const chosen = reinterpret_cast<uint32_t*>(keys + size);
  const uint64_t query = block_x();
  const float* const scores = a.scores + query * a.n;
  if (kept) select(scores, a.n, kept, *reinterpret_cast<SelectScratch*>(shared), chosen);
  synchronise_block();
  for (uint32_t i = thread(); i < size; i += threads())
    keys[i] = i < kept ? uint64_t{order_of(scores[chosen[i]])} << 32 | ~chosen[i] : 0;
  sort_descending(keys, size);
  for (uint32_t i = thread(); i < a.k; i += threads()) {
    const uint32_t position = ~static_cast<uint32_t>(keys[i]);
    int64_t number = -1;
    if (i < kept) {
      number = position;
      if (a.candidates) number = a.candidates[query * a.n + position];
      if (a.numbers) {
        number = int64_t{a.numbers[query * (a.n / a.bin) + position / a.bin]} * a.bin + position % a.bin;
      }
    }
    const bool there = number >= 0 && static_cast<uint64_t>(number) < a.count;
    a.best_ids[query * a.k + i] = !there ? -1 : a.ids ? a.ids[number] : number;
    a.best_scores[query * a.k + i] = there ? scores[position] : -std::numeric_limits<float>::infinity();
  }
}

constexpr size_t candidates_shared(uint32_t each) { return power_at_least(each) * sizeof(uint64_t); }

// Candidates by number, so that their positions order them as their ids do.
TERCET_KERNEL(kSelectThreads, 2)
candidates_kernel(CandidateArguments a) {
  uint64_t* const keys = shared_memory<uint64_t>();
  const uint32_t size = power_at_least(a.each);
  const int64_t* const given = a.given + uint64_t{block_x()} * a.each;
  int64_t* const numbers = a.numbers + uint64_t{block_x()} * a.each;
  for (uint32_t i = thread(); i < size; i += threads()) {
    keys[i] = 0;
    if (i >= a.each) continue;
    uint32_t low = 0, high = a.count;  // of ids below the one that is looked for
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      a.ids[middle] < given[i] ? low = middle + 1 : high = middle;
    }
    if (low < a.count && a.ids[low] == given[i])
      keys[i] = uint64_t{a.count} - low;  // descending is ascending
  }
  sort_descending(keys, size);
  // Of equal neighbours the first stays; the others go behind all, in a second sort.
  constexpr uint32_t kOfThread = kMaxCandidates / kSelectThreads;
  uint64_t own[kOfThread];
  TERCET_UNROLL
  for (uint32_t j = 0; j < kOfThread; ++j) {
    const uint32_t i = j * kSelectThreads + thread();
    own[j] = i < size && (i == 0 || keys[i] != keys[i - 1]) ? keys[i] : 0;
  }
  synchronise_block();
  TERCET_UNROLL
  for (uint32_t j = 0; j < kOfThread; ++j) {
    const uint32_t i = j * kSelectThreads + thread();
    if (i < size) keys[i] = own[j];
  }
  sort_descending(keys, size);
  for (uint32_t i = thread(); i < a.each; i += threads())
    numbers[i] = keys[i] ? static_cast<int64_t>(a.count - keys[i]) : -1;
}

}  // namespace

void choose_bins(const ChooseBinsArguments& arguments, uint32_t queries, Stream stream) {
  if (arguments.chosen == 0 || queries == 0) return;
  launch(choose_bins_kernel, queries, 1, kSelectThreads, sizeof(SelectScratch), stream, arguments);
}

void rank(const RankArguments& arguments, uint32_t queries, Stream stream) {
  if (queries == 0) return;
  launch(rank_kernel, queries, 1, kSelectThreads, rank_shared(arguments.k), stream, arguments);
}

void order_candidates(const CandidateArguments& arguments, uint32_t queries, Stream stream) {
  if (arguments.each == 0 || queries == 0) return;
  launch(candidates_kernel, queries, 1, kSelectThreads, candidates_shared(arguments.each), stream, arguments);
}

}  // namespace tercet::cuda
