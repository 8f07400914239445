#include "index/token_lists.h"

#include <algorithm>

#include "core/error.h"

namespace tercet {

void TokenLists::update(size_t centroids, const std::vector<uint32_t>& numbers,
                        const std::vector<Text>& added, const uint16_t* nearest) {
  // Twice the same walk: once to count, once to fill.
  const auto walk = [&](const auto& put) {
    for (size_t c = 0; c + 1 < starts_.size(); ++c) {
      for (auto i = starts_.data()[c]; i < starts_.data()[c + 1]; ++i) {
        const uint32_t number = numbers[texts_.data()[i]];
        if (number != kNoText) put(c, number);
      }
    }
    std::vector<uint32_t> last(centroids, kNoText);
    for (const Text& text : added) {
      for (size_t i = text.tokens.begin; i < text.tokens.begin + text.tokens.count; ++i) {
        if (last[nearest[i]] == text.number) continue;
        last[nearest[i]] = text.number;
        put(nearest[i], text.number);
      }
    }
  };
  std::vector<int64_t> starts(centroids + 1, 0);
  walk([&](size_t c, uint32_t) { ++starts[c + 1]; });
  for (size_t c = 0; c < centroids; ++c) starts[c + 1] += starts[c];
  std::vector<uint32_t> texts(static_cast<size_t>(starts.back()));
  std::vector<int64_t> next(starts.begin(), starts.end() - 1);
  walk([&](size_t c, uint32_t number) { texts[static_cast<size_t>(next[c]++)] = number; });
  // Room first: after that nothing fails.
  starts_.reserve(starts.size());
  texts_.reserve(texts.size());
  starts_.resize(starts.size());
  texts_.resize(texts.size());
  std::copy(starts.begin(), starts.end(), starts_.mutable_data());
  std::copy(texts.begin(), texts.end(), texts_.mutable_data());
}

void TokenLists::gather(const std::vector<std::vector<Candidate>>& nearest, size_t texts, Scratch& s) const {
  constexpr size_t kAhead = 16;  // sums lie anywhere
  s.sums.resize(texts);
  for (size_t token = 0; token < nearest.size(); ++token) {
    const std::vector<Candidate>& best = nearest[token];
    const auto stamp = static_cast<uint32_t>(token + 1);
    for (size_t b = 0; b + 1 < best.size(); ++b) {
      const float gain = best[b].score - best.back().score;
      const uint32_t* const list = texts_.data() + starts_.data()[best[b].row];
      const auto count = static_cast<size_t>(starts_.data()[best[b].row + 1] - starts_.data()[best[b].row]);
      for (size_t i = 0; i < count; ++i) {
        prefetch_line(&s.sums[list[std::min(i + kAhead, count - 1)]]);
        Scratch::Sum& sum = s.sums[list[i]];
        if (sum.token == stamp) continue;  // by a better centroid
        if (sum.token == 0) s.touched.push_back(list[i]);
        sum.token = stamp;
        sum.gain += gain;
      }
    }
  }
}

void TokenLists::clear(Scratch& s) {
  for (const uint32_t text : s.touched) s.sums[text] = {};
  s.touched.clear();
}

void TokenLists::save(Sections& out, const std::vector<uint32_t>& slots) const {
  std::vector<int64_t> starts{0};
  std::vector<uint32_t> texts;
  texts.reserve(texts_.size());
  for (size_t c = 0; c + 1 < starts_.size(); ++c) {
    for (auto i = starts_.data()[c]; i < starts_.data()[c + 1]; ++i) {
      const uint32_t slot = slots[texts_.data()[i]];
      if (slot != kNoText) texts.push_back(slot);
    }
    starts.push_back(static_cast<int64_t>(texts.size()));
  }
  out.own("list_starts", std::move(starts));
  out.own(kPayload, std::move(texts));
}

void TokenLists::restore(const Container& file, size_t centroids) {
  const std::vector<int64_t> starts = file.copy<int64_t>("list_starts", centroids + 1);
  require(starts[0] == 0 && std::is_sorted(starts.begin(), starts.end()), "list_starts: expected ",
          centroids + 1, " rising from 0");
  const auto texts = file.view<uint32_t>(kPayload);
  Container::check_count(kPayload, texts.size(), static_cast<size_t>(starts.back()));
  starts_.resize(starts.size());
  std::copy(starts.begin(), starts.end(), starts_.mutable_data());
  texts_.borrow(texts, file.keeper());
}

void TokenLists::check(size_t texts, const std::vector<uint32_t>& unlisted) const {
  std::vector<bool> in_none(texts);
  for (const uint32_t text : unlisted) in_none[text] = true;
  for (size_t i = 0; i < texts_.size(); ++i) {
    const uint32_t text = texts_.data()[i];
    require(text < texts, kPayload, ": expected texts below ", texts, ", got ", text);
    require(!in_none[text], kPayload, ": text ", text, " is unlisted too");
  }
}

}  // namespace tercet
