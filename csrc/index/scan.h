// Exact scans: every query against every row (or a list of rows), tiled over the pool. Scratch belongs to the
// call, so concurrent scans share nothing; results depend neither on the number of threads nor on what else
// is in the batch.
#pragma once
#include <functional>
#include <vector>

#include "codec/packed_queries.h"
#include "core/topk.h"
#include "core/types.h"

namespace tercet {

// Rows to scan: all of `rows`, or those listed. Borrowed arrays come unchecked and int8 ones as signed bytes;
// both are dealt with block by block, while a block is in cache.
struct ScanRows {
  RowsView rows;
  const uint32_t* list = nullptr;  // null: all rows
  size_t list_size = 0;
  bool borrowed = false;
  const char* what = "vectors";  // how an error names them

  size_t count() const { return list ? list_size : rows.rows; }
};

// The best k rows of each query, best first, fewer if there are fewer. Candidate::row is a row of `rows`.
std::vector<std::vector<Candidate>> scan_topk(const PackedQueries& queries, const ScanRows& rows, size_t k,
                                              const TieBreak& ties, size_t threads);

// The same where scores are <2 q, x> - |x|^2: those of the results are distances, -|q - x|^2. `squares`:
// |q|^2 of each query.
std::vector<std::vector<Candidate>> scan_distances(const PackedQueries& queries, const ScanRows& rows,
                                                   const float* squares, size_t k, const TieBreak& ties,
                                                   size_t threads);

// The rows that can be among the best k of each query, by falling upper bounds, when `rows.bias` makes scores
// upper bounds and widths[row] below lie lower bounds.
std::vector<std::vector<Candidate>> scan_contenders(const PackedQueries& queries, const ScanRows& rows,
                                                    const float* widths, size_t k, size_t threads);

// scores[q * rows + i], the whole matrix.
void scan_dot(const PackedQueries& queries, const ScanRows& rows, float* scores, size_t threads);

// Token rows of several queries, one after another: query q owns rows [offsets[q], offsets[q + 1]).
struct QueryTokens {
  const PackedQueries& packed;
  const std::vector<size_t>& offsets;
  size_t count() const { return offsets.size() - 1; }
};

// MaxSim of every query with every text: block(worker, first_text, num_texts, scores) is called for each
// block of texts with scores[q * num_texts + i]; blocks come in any order, each worker's one at a time. A
// text without tokens scores -inf, a query without tokens 0 with any other text.
void scan_maxsim(const QueryTokens& queries, const ScanRows& tokens, const TokenSpan* texts, size_t num_texts,
                 size_t threads,
                 const std::function<void(size_t worker, size_t first_text, size_t num_texts,
                                          const float* scores)>& block);

// How many workers scan_maxsim uses.
size_t scan_maxsim_workers(size_t num_texts, size_t threads);

// The largest magnitude of a row that is scored by dot products: no sum of 65535 of them leaves float32, nor
// does that of a text of any length.
constexpr float kMaxScored = 1e15f;

// Throws Error naming the first row with a value that is not finite or larger in magnitude than `limit`.
void check_values(const float* rows, size_t stride, size_t count, uint32_t dim, float limit, const char* what,
                  size_t threads);

}  // namespace tercet
