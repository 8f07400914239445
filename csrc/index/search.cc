#include "index/search.h"

#include <limits>

#include "core/error.h"

namespace tercet {

BitSet allowed_set(const Filter& filter, const IdTable& ids) {
  BitSet set;
  if (const auto* given = std::get_if<Ids>(&filter)) {
    set.resize(ids.size());
    for (const uint32_t slot : ids.known_slots(*given)) set.insert(slot);
  } else if (const auto* mask = std::get_if<Mask>(&filter)) {
    require(mask->size == ids.size(), "filter: expected a mask of ", ids.size(),
            " (one per id in index.ids), got ", mask->size);
    mask->packed ? set.assign_packed(mask->values, mask->size) : set.assign(mask->values, mask->size);
  }
  return set;
}

std::vector<uint32_t> allowed_slots(const Filter& filter, const IdTable& ids) {
  const auto* const given = std::get_if<Ids>(&filter);  // few, as a rule: no bit for every other one
  return given ? ids.known_slots(*given) : allowed_set(filter, ids).list();
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
