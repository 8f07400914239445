#include "index/token_lists.h"

#include <algorithm>

#include "core/error.h"

namespace tercet {

namespace {

// Seven bits of the number a byte, from the lowest up; the last byte is below 128.
void append_varint(AlignedVector<uint8_t>& out, uint32_t number) {
  for (; number >= 0x80; number >>= 7) out.push_back(static_cast<uint8_t>(number | 0x80));
  out.push_back(static_cast<uint8_t>(number));
}

uint32_t take_varint(const uint8_t*& at) {
  uint32_t number = *at++;
  if (number < 0x80) return number;
  number &= 0x7f;
  for (int shift = 7;; shift += 7) {
    const uint32_t byte = *at++;
    number |= (byte & 0x7f) << shift;
    if (byte < 0x80) return number;
  }
}

}  // namespace

// Calls f(number) for the texts of a list.
template <class F>
void TokenLists::each(size_t centroid, const F& f) const {
  const uint8_t* at = gaps_.data() + offsets_.data()[centroid];
  const uint8_t* const end = gaps_.data() + offsets_.data()[centroid + 1];
  uint32_t number = 0;
  while (at < end) f(number += take_varint(at));
}

TokenLists::Stored TokenLists::renumbered(size_t centroids, const std::vector<uint32_t>& numbers,
                                          const std::vector<Text>& added, const uint16_t* nearest) const {
  // What is added, by centroid: twice the same walk, once to count, once to fill.
  const auto walk = [&](const auto& put) {
    std::vector<uint32_t> last(centroids, kNoText);
    for (const Text& text : added) {
      for (size_t i = text.tokens.begin; i < text.tokens.begin + text.tokens.count; ++i) {
        if (last[nearest[i]] == text.number) continue;
        last[nearest[i]] = text.number;
        put(nearest[i], text.number);
      }
    }
  };
  std::vector<size_t> ends(centroids + 1, 0);
  walk([&](size_t c, uint32_t) { ++ends[c + 1]; });
  for (size_t c = 0; c < centroids; ++c) ends[c + 1] += ends[c];
  std::vector<uint32_t> texts(ends.back());
  std::vector<size_t> next(ends.begin(), ends.end() - 1);
  walk([&](size_t c, uint32_t number) { texts[next[c]++] = number; });

  Stored stored;
  stored.offsets.reserve(centroids + 1);
  stored.offsets.push_back(0);
  std::vector<uint32_t> list;
  for (size_t c = 0; c < centroids; ++c) {
    list.clear();
    if (!empty()) {
      each(c, [&](uint32_t old) {
        if (numbers[old] != kNoText) list.push_back(numbers[old]);
      });
    }
    list.insert(list.end(), texts.begin() + static_cast<long>(ends[c]),
                texts.begin() + static_cast<long>(ends[c + 1]));
    if (!std::is_sorted(list.begin(), list.end())) std::sort(list.begin(), list.end());
    uint32_t before = 0;
    for (const uint32_t number : list) {
      append_varint(stored.gaps, number - before);
      before = number;
    }
    stored.offsets.push_back(static_cast<int64_t>(stored.gaps.size()));
  }
  return stored;
}

void TokenLists::update(size_t centroids, const std::vector<uint32_t>& numbers,
                        const std::vector<Text>& added, const uint16_t* nearest) {
  Stored stored = renumbered(centroids, numbers, added, nearest);
  stored.gaps.shrink_to_fit();
  offsets_.take(std::move(stored.offsets));
  gaps_.take(std::move(stored.gaps));
}

void TokenLists::extend(size_t centroids) {
  if (empty() || offsets_.size() > centroids) return;
  AlignedVector<int64_t> offsets(offsets_.data(), offsets_.data() + offsets_.size());
  offsets.resize(centroids + 1, offsets.back());
  offsets_.take(std::move(offsets));
}

void TokenLists::gather(const std::vector<std::vector<Candidate>>& nearest, size_t texts, Scratch& s) const {
  // Sums lie anywhere: those of so many texts are asked for before the first is used.
  constexpr size_t kAhead = 32;
  uint32_t ahead[kAhead];
  s.sums.resize(texts);
  for (size_t token = 0; token < nearest.size(); ++token) {
    const std::vector<Candidate>& best = nearest[token];
    const auto stamp = static_cast<uint32_t>(token + 1);
    for (size_t b = 0; b + 1 < best.size(); ++b) {
      const float gain = best[b].score - best.back().score;
      size_t waiting = 0;
      const auto add = [&] {
        for (size_t i = 0; i < waiting; ++i) {
          Scratch::Sum& sum = s.sums[ahead[i]];
          if (sum.token == stamp) continue;  // by a better centroid
          if (sum.token == 0) s.touched.push_back(ahead[i]);
          sum.token = stamp;
          sum.gain += gain;
        }
        waiting = 0;
      };
      each(best[b].row, [&](uint32_t number) {
        prefetch_line(&s.sums[number]);
        ahead[waiting++] = number;
        if (waiting == kAhead) add();
      });
      add();
    }
  }
}

void TokenLists::clear(Scratch& s) {
  for (const uint32_t text : s.touched) s.sums[text] = {};
  s.touched.clear();
}

void TokenLists::save(Sections& out, const std::vector<uint32_t>& slots) const {
  size_t same = 0;
  while (same < slots.size() && slots[same] == same) ++same;
  if (same == slots.size()) {
    out.view("list_offsets", offsets_);
    out.view(kPayload, gaps_);
  } else {
    Stored stored = renumbered(offsets_.size() - 1, slots, {}, nullptr);
    out.own("list_offsets", std::move(stored.offsets));
    out.own(kPayload, std::move(stored.gaps));
  }
}

void TokenLists::restore(const Container& file, size_t centroids) {
  const auto offsets = file.read<int64_t>("list_offsets");
  Container::check_count("list_offsets", offsets.size(), centroids + 1);
  require(offsets[0] == 0 && std::is_sorted(offsets.begin(), offsets.end()),
          "list_offsets: expected to rise from 0");
  const auto gaps = file.view<uint8_t>(kPayload);
  Container::check_count(kPayload, gaps.size(), static_cast<size_t>(offsets.back()));
  offsets_.take({offsets.begin(), offsets.end()});
  gaps_.borrow(gaps, file.keeper());
}

void TokenLists::check(size_t texts, const std::vector<uint32_t>& unlisted) const {
  std::vector<bool> in_none(texts);
  for (const uint32_t text : unlisted) in_none[text] = true;
  for (size_t c = 0; c + 1 < offsets_.size(); ++c) {
    const auto end = static_cast<size_t>(offsets_.data()[c + 1]);
    const auto begin = static_cast<size_t>(offsets_.data()[c]);
    uint64_t number = 0;
    for (size_t i = begin; i < end;) {
      const bool first = i == begin;
      uint64_t gap = 0;
      int shift = 0;
      for (bool more = true; more; shift += 7) {
        require(i < end && shift < 35, kPayload, ": list ", c, " ends within a number");
        more = gaps_.data()[i] >= 0x80;
        gap |= static_cast<uint64_t>(gaps_.data()[i++] & 0x7f) << shift;
      }
      require(first || gap, kPayload, ": list ", c, " has text ", number, " twice");
      number += gap;
      require(number < texts, kPayload, ": expected texts below ", texts, ", got ", number);
      require(!in_none[number], kPayload, ": text ", number, " is unlisted too");
    }
  }
}

}  // namespace tercet
