// Why a MultiVectorIndex gave a text its score: that of every token of a query with every token of the text.
#include <algorithm>
#include <mutex>
#include <shared_mutex>

#include "core/error.h"
#include "index/multivector.h"

namespace tercet {

MultiVectorIndex::TokenScores MultiVectorIndex::token_scores(const float* query, size_t tokens,
                                                             const Ids& ids, size_t threads) const {
  require(tokens > 0, "queries: a query has no tokens");
  check_values(query, dim(), tokens, dim(), limit(), "queries", threads);
  std::shared_lock lock(mutex_);
  opened_.check();
  // Of one token with one token MaxSim is their score, from the kernels that search uses: these add up to
  // what it returned, which scores of decoded vectors would do up to the query's own rounding alone.
  std::vector<size_t> queries(tokens + 1);
  for (size_t t = 0; t <= tokens; ++t) queries[t] = t;
  std::vector<TokenSpan> texts;
  TokenScores out;
  out.offsets.push_back(0);
  for (const uint32_t slot : ids_.slots_once(ids)) {
    for (size_t t = 0; t < spans_[slot].count; ++t) texts.push_back({spans_[slot].begin + t, 1});
    out.offsets.push_back(static_cast<int64_t>(texts.size()));
  }
  out.scores.resize(tokens * texts.size());
  if (texts.empty()) return out;
  const PackedQueries packed = store_.bind(query, tokens);
  ScanRows rows;
  rows.rows = store_.view();
  scan_maxsim({packed, queries}, rows, texts.data(), texts.size(), threads,
              [&](size_t, size_t first, size_t count, const float* scores) {
                for (size_t t = 0; t < tokens; ++t) {
                  std::copy(scores + t * count, scores + (t + 1) * count,
                            out.scores.data() + t * texts.size() + first);
                }
              });
  return out;
}

}  // namespace tercet
