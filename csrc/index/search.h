// What every index takes and returns.
#pragma once
#include <cstdint>
#include <variant>
#include <vector>

#include "core/bits.h"
#include "core/topk.h"
#include "index/ids.h"

namespace tercet {

// Which of an index's entries a query may return: everything, some ids (unknown ones are ignored), or a mask
// over IdTable::ids() in their order.
struct Mask {
  const uint8_t* values;  // a byte each, 0 or not; or packed, from the lowest bit of a byte up
  size_t size;
  bool packed = false;
};
using Filter = std::variant<std::monostate, Ids, Mask>;

// One filter for all queries (size 0 or 1), or one for each.
using Filters = std::vector<Filter>;

// Hits of nq queries: query q's are [q * k, q * k + filled[q]).
struct Results {
  size_t k = 0;
  std::vector<uint32_t> filled;
  std::vector<float> scores;
  Ids ids;
};

// The slots that ids or a mask allow. Throws Error for a mask that is not of as many ids.
BitSet allowed_set(const Filter& filter, const IdTable& ids);
// The same, ascending.
std::vector<uint32_t> allowed_slots(const Filter& filter, const IdTable& ids);

// Replaces slots by ids and pads to k.
Results make_results(const std::vector<std::vector<Candidate>>& hits, size_t k, const IdTable& ids);

// Throws Error unless there is one filter, none, or one for each query.
void check_filters(const Filters& filters, size_t num_queries);

}  // namespace tercet
