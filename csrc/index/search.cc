#include "index/search.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace tercet {

size_t Mask::count() const {
  if (!packed) return static_cast<size_t>(std::count_if(values, values + size, [](uint8_t v) { return v; }));
  size_t count = 0, i = 0;
  for (; i + 64 <= size; i += 64) {
    uint64_t bits;
    std::memcpy(&bits, values + i / 8, sizeof bits);
    count += static_cast<size_t>(std::popcount(bits));
  }
  for (; i < size; ++i) count += (*this)[i];
  return count;
}

void check_size(const Mask& mask, size_t ids) {
  require(mask.size == ids, "filter: expected a mask of ", ids, " (one per id in index.ids), got ",
          mask.size);
}

std::vector<uint32_t> allowed_slots(const Filter& filter, const IdTable& ids) {
  if (const auto* given = std::get_if<Ids>(&filter)) return ids.known_slots(*given);
  const auto* mask = std::get_if<Mask>(&filter);
  if (mask) check_size(*mask, ids.size());
  std::vector<uint32_t> slots;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!mask || (*mask)[i]) slots.push_back(static_cast<uint32_t>(i));
  }
  return slots;
}

Results make_results(const std::vector<std::vector<Candidate>>& hits, size_t k, const IdTable& table) {
  Results results;
  results.k = k;
  results.scores.assign(hits.size() * k, -std::numeric_limits<float>::infinity());
  std::visit(
      [&]<class Id>(const std::vector<Id>& by_slot) {
        std::vector<Id> ids(hits.size() * k);
        for (size_t q = 0; q < hits.size(); ++q) {
          results.filled.push_back(static_cast<uint32_t>(hits[q].size()));
          for (size_t i = 0; i < hits[q].size(); ++i) {
            ids[q * k + i] = by_slot[hits[q][i].row];
            results.scores[q * k + i] = hits[q][i].score;
          }
        }
        results.ids = std::move(ids);
      },
      table.ids());
  return results;
}

void check_filters(const Filters& filters, size_t num_queries) {
  require(filters.size() <= 1 || filters.size() == num_queries,
          "filter: expected one for all or one for each of ", num_queries, " queries, got ", filters.size());
}

}  // namespace tercet
