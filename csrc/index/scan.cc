#include "index/scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/parallel.h"
#include "index/contenders.h"
#include "index/distances.h"

namespace tercet {
namespace {

// A block of rows is read from memory once and then stays in L2 while all panels pass over it.
constexpr size_t kBlockBytes = 256 * 1024, kMaxBlockRows = 256;
// With one panel it may be as long as a chunk: the less often candidates are looked at the better. But of
// rows that are checked or copied before the kernel sees them it is only as much as that prefetches: then
// they find the next block in cache.
constexpr size_t kOnePanelBytes = 48 * 1024, kMaxOnePanelRows = 1024;
// How far ahead listed rows are prefetched.
constexpr size_t kListedAhead = 6 * 1024;
// Rows a worker claims at a time.
constexpr size_t kChunkRows = 4096;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kUnreachable = std::numeric_limits<float>::quiet_NaN();  // an infinite bias reaches infinity

size_t block_rows(const ScanRows& rows, size_t num_panels) {
  const size_t stride = std::max<size_t>(rows.rows.stride, 1);
  // whole groups of the 64 rows that the kernels for few queries take at once
  const auto of = [&](size_t bytes) { return bytes / stride / 64 * 64; };
  if (num_panels > 1) return std::clamp<size_t>(of(kBlockBytes), 16, kMaxBlockRows);
  if (!rows.borrowed && !rows.list) return kMaxOnePanelRows;
  return std::clamp<size_t>(of(kOnePanelBytes), 64, kMaxBlockRows);
}

// Signed bytes to excess-128.
void flip_signs(const uint8_t* from, size_t count, uint8_t* to) {
  for (size_t i = 0; i < count; ++i) to[i] = from[i] ^ 0x80;
}

[[noreturn]] void fail_not_finite(const ScanRows& rows, size_t row) {
  fail(ErrorKind::value, rows.what, ": row ", row, " has a value that is not finite");
}

// Finds which of rows [first, first + count) made all_finite false.
void check_finite(const ScanRows& rows, size_t first, size_t count) {
  const RowsView& view = rows.rows;
  const bool dense = view.stride == row_bytes(view.format, view.dim);
  if (dense && kernels().all_finite(view.format, view.row(first), count * view.dim)) return;
  for (size_t i = first; i < first + count; ++i) {
    if (!kernels().all_finite(view.format, view.row(i), view.dim)) fail_not_finite(rows, i);
  }
}

// One worker's view of a block: the rows themselves, or a copy where they are scattered or signed.
class BlockReader {
 public:
  explicit BlockReader(const ScanRows& source) : source_(source) {}

  // Positions [begin, end) of the scan. `first` is the row of the returned view to start at.
  RowsView read(size_t begin, size_t end, size_t* first) {
    const size_t count = end - begin;
    const bool listed = source_.list && source_.list[end - 1] - source_.list[begin] + 1 != count;
    const size_t start = source_.list ? source_.list[begin] : begin;
    if (source_.borrowed && !listed) check_finite(source_, start, count);
    const bool flip = source_.borrowed && source_.rows.format == Format::int8;
    if (!listed && !flip) {
      *first = start;
      return source_.rows;
    }
    *first = 0;
    return copy(begin, count, flip);
  }

  // The row of the source that a row of the last view stands for.
  uint32_t source_row(size_t begin, size_t first, uint32_t row) const {
    const size_t position = begin + (row - first);
    return source_.list ? source_.list[position] : static_cast<uint32_t>(position);
  }

 private:
  RowsView copy(size_t begin, size_t count, bool flip) {
    const RowsView& from = source_.rows;
    const size_t bytes = row_bytes(from.format, from.dim);
    codes_.resize(count * bytes);
    scales_.resize(count);
    bias_.resize(count);
    // Listed rows lie anywhere: unless some of them are on their way, each waits for memory.
    const size_t ahead = std::max<size_t>(kListedAhead / bytes, 3);
    const size_t listed = source_.list ? source_.list_size : 0;
    for (size_t i = 0; i < count; ++i) {
      if (begin + i + ahead < listed) {
        const uint8_t* const next = from.row(source_.list[begin + i + ahead]);
        for (size_t k = 0; k < bytes; k += kCacheLine) prefetch_line(next + k);
      }
      const size_t row = source_.list ? source_.list[begin + i] : begin + i;
      if (flip) {
        flip_signs(from.row(row), bytes, codes_.data() + i * bytes);
      } else {
        std::memcpy(codes_.data() + i * bytes, from.row(row), bytes);
      }
      if (from.scales) scales_[i] = from.scales[row];
      if (from.bias) bias_[i] = from.bias[row];
    }
    RowsView view = from;
    view.data = codes_.data();
    view.rows = count;
    view.stride = bytes;
    view.scales = from.scales ? scales_.data() : nullptr;
    view.bias = from.bias ? bias_.data() : nullptr;
    return view;
  }

  const ScanRows& source_;
  AlignedVector<uint8_t> codes_;
  std::vector<uint16_t> scales_;
  std::vector<float> bias_;
};

// Four partial sums by row number within the query: short chains, and an order that does not depend on where
// in a panel the query begins.
float sum_rows(const float* best, size_t rows) {
  float sums[4] = {};
  const size_t whole = rows / 4 * 4;
  for (size_t r = 0; r < whole; r += 4) {
    for (int i = 0; i < 4; ++i) sums[i] += best[r + i];
  }
  for (size_t r = whole; r < rows; ++r) sums[r % 4] += best[r];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Candidates of one worker for the queries of one group.
template <class Collector>
void filter_block(const PackedQueries& queries, size_t first_panel, size_t end_panel, const RowsView& view,
                  size_t first, size_t count, std::vector<Collector>& best, const BetterThan& better,
                  const std::function<uint32_t(uint32_t)>* renumber) {
  const PanelKernels& kernel = kernels().panel(queries.format());
  CandidateSink sink;
  uint32_t before[kPanelRows];
  for (size_t p = first_panel; p < end_panel; ++p) {
    const Panel panel = queries.panel(p);
    Collector* const own = best.data() + (p - first_panel) * kPanelRows;
    for (int r = 0; r < kPanelRows; ++r) {
      const bool used = r < panel.rows;
      sink.thresholds[r] = used ? own[r].threshold() : kUnreachable;
      sink.candidates[r] = used ? own[r].data() : nullptr;
      sink.counts[r] = before[r] = used ? own[r].size() : 0;
    }
    kernel.filter(panel, view, first, count, sink);
    for (int r = 0; r < panel.rows; ++r) {
      if (sink.counts[r] == before[r]) continue;
      own[r].size() = sink.counts[r];
      if (renumber) {
        for (uint32_t i = before[r]; i < sink.counts[r]; ++i) {
          Candidate& c = own[r].data()[i];
          c.row = (*renumber)(c.row);
        }
      }
      own[r].make_room(better);
    }
  }
}

// Runs every row past a collector of every query (make(query, block) makes one per worker), then calls
// done(query, collectors of all workers).
template <class Make, class Done>
void collect(const PackedQueries& queries, const ScanRows& rows, const BetterThan& better, size_t threads,
             Make make, Done done) {
  using Collector = decltype(make(size_t{}, size_t{}));
  constexpr size_t kGroupPanels = 32;  // bounds the candidate buffers of a worker
  const size_t count = rows.count(), block = block_rows(rows, queries.num_panels());
  const size_t chunks = (count + kChunkRows - 1) / kChunkRows;
  const size_t workers = worker_count(chunks, threads);

  for (size_t panel0 = 0; panel0 < queries.num_panels(); panel0 += kGroupPanels) {
    const size_t panel1 = std::min(panel0 + kGroupPanels, queries.num_panels());
    const size_t query0 = panel0 * kPanelRows, query1 = std::min(panel1 * kPanelRows, queries.rows());
    std::vector<std::vector<Collector>> best(workers);
    std::vector<BlockReader> readers(workers, BlockReader(rows));
    parallel_for(chunks, threads, [&](size_t chunk, size_t worker) {
      // A worker's first blocks are short: until a collector has a threshold, everything passes.
      size_t rows_at_once = block;
      if (best[worker].empty()) {
        // Not copies of one: of the room for candidates little is ever touched.
        best[worker].reserve(query1 - query0);
        for (size_t q = query0; q < query1; ++q) best[worker].push_back(make(q, block));
        rows_at_once = std::min<size_t>(block, 16);
      }
      const size_t end = std::min((chunk + 1) * kChunkRows, count);
      for (size_t begin = chunk * kChunkRows, stop; begin < end; begin = stop) {
        stop = std::min(begin + rows_at_once, end);
        rows_at_once = std::min(block, 2 * rows_at_once);
        size_t first;
        const RowsView view = readers[worker].read(begin, stop, &first);
        const std::function<uint32_t(uint32_t)> renumber = [&](uint32_t row) {
          return readers[worker].source_row(begin, first, row);
        };
        filter_block(queries, panel0, panel1, view, first, stop - begin, best[worker], better,
                     view.data == rows.rows.data ? nullptr : &renumber);
      }
    });
    for (size_t q = query0; q < query1; ++q) {
      std::vector<Collector*> parts;
      for (auto& own : best) {
        if (!own.empty()) parts.push_back(&own[q - query0]);
      }
      done(q, parts);
    }
  }
}

}  // namespace

std::vector<std::vector<Candidate>> scan_topk(const PackedQueries& queries, const ScanRows& rows, size_t k,
                                              const TieBreak& ties, size_t threads) {
  const size_t kept = std::min(k, rows.count());
  const BetterThan better{&ties};
  std::vector<std::vector<Candidate>> results(queries.rows());
  if (kept == 0) return results;
  collect(
      queries, rows, better, threads, [&](size_t, size_t block) { return TopK(kept, block); },
      [&](size_t q, const std::vector<TopK*>& parts) { results[q] = merge_topk(parts, kept, better); });
  return results;
}

std::vector<std::vector<Candidate>> scan_distances(const PackedQueries& queries, const ScanRows& rows,
                                                   const float* squares, size_t k, const TieBreak& ties,
                                                   size_t threads) {
  const size_t kept = std::min(k, rows.count());
  const BetterThan better{&ties};
  std::vector<std::vector<Candidate>> results(queries.rows());
  if (kept == 0) return results;
  collect(
      queries, rows, better, threads,
      [&](size_t q, size_t block) { return DistanceTopK(kept, block, squares[q]); },
      [&](size_t q, const std::vector<DistanceTopK*>& parts) {
        results[q] = DistanceTopK::merge(parts, kept, better);
      });
  return results;
}

std::vector<std::vector<Candidate>> scan_contenders(const PackedQueries& queries, const ScanRows& rows,
                                                    const float* widths, size_t k, size_t threads) {
  const size_t kept = std::min(k, rows.count());
  const TieBreak ties;
  std::vector<std::vector<Candidate>> results(queries.rows());
  if (kept == 0) return results;
  collect(
      queries, rows, BetterThan{&ties}, threads,
      [&](size_t, size_t block) { return Contenders(kept, block, widths); },
      [&](size_t q, const std::vector<Contenders*>& parts) {
        results[q] = Contenders::merge(parts, kept, widths);
      });
  return results;
}

void scan_dot(const PackedQueries& queries, const ScanRows& rows, float* scores, size_t threads) {
  const size_t count = rows.count(), block = block_rows(rows, queries.num_panels());
  const size_t tasks = (count + block - 1) / block, workers = worker_count(tasks, threads);
  const PanelKernels& kernel = kernels().panel(queries.format());
  std::vector<BlockReader> readers(workers, BlockReader(rows));
  std::vector<AlignedVector<float>> tiles(workers);
  parallel_for(tasks, threads, [&](size_t task, size_t worker) {
    const size_t begin = task * block, n = std::min(block, count - begin);
    tiles[worker].resize(block * kPanelRows);
    float* const tile = tiles[worker].data();
    size_t first;
    const RowsView view = readers[worker].read(begin, begin + n, &first);
    for (size_t p = 0; p < queries.num_panels(); ++p) {
      const Panel panel = queries.panel(p);
      kernel.dot(panel, view, first, n, tile);
      for (int r = 0; r < panel.rows; ++r) {
        float* const out = scores + (p * kPanelRows + r) * count + begin;
        for (size_t i = 0; i < n; ++i) out[i] = tile[i * kPanelRows + r];
      }
    }
  });
}

namespace {
constexpr size_t kMaxBlockTexts = 64;
}

size_t scan_maxsim_workers(size_t num_texts, size_t threads) {
  return worker_count((num_texts + kMaxBlockTexts - 1) / kMaxBlockTexts, threads);
}

void scan_maxsim(const QueryTokens& queries, const ScanRows& tokens, const TokenSpan* texts, size_t num_texts,
                 size_t threads, const std::function<void(size_t, size_t, size_t, const float*)>& block) {
  const PackedQueries& packed = queries.packed;
  const MaxSim maxsim = kernels().maxsim(packed.format());
  const size_t padded = packed.num_panels() * kPanelRows;
  const size_t workers = scan_maxsim_workers(num_texts, threads);
  struct Scratch {
    AlignedVector<float> best, scores;
    AlignedVector<uint8_t> flipped;
  };
  std::vector<Scratch> scratch(workers);

  parallel_for((num_texts + kMaxBlockTexts - 1) / kMaxBlockTexts, threads, [&](size_t task, size_t worker) {
    Scratch& own = scratch[worker];
    own.best.resize(kMaxBlockTexts * padded);
    own.scores.resize(kMaxBlockTexts * queries.count());
    const size_t task_end = std::min((task + 1) * kMaxBlockTexts, num_texts);
    for (size_t begin = task * kMaxBlockTexts; begin < task_end;) {
      size_t end = begin, bytes = 0;
      while (end < task_end && (end == begin || bytes < kBlockBytes)) {
        bytes += texts[end++].count * tokens.rows.stride;
      }
      const size_t n = end - begin;
      RowsView view = tokens.rows;
      TokenSpan shifted[kMaxBlockTexts];
      const TokenSpan* spans = texts + begin;
      if (tokens.borrowed && view.format == Format::int8) {  // signed to excess-128, in a copy
        size_t rows = 0;
        for (size_t i = 0; i < n; ++i) rows += spans[i].count;
        own.flipped.resize(rows * view.dim);
        uint8_t* to = own.flipped.data();
        for (size_t i = 0; i < n; ++i) {
          shifted[i] = {static_cast<size_t>(to - own.flipped.data()) / view.dim, spans[i].count};
          for (size_t t = spans[i].begin; t < spans[i].begin + spans[i].count; ++t, to += view.dim) {
            flip_signs(tokens.rows.row(t), view.dim, to);
          }
        }
        view.data = own.flipped.data();
        view.stride = view.dim;
        view.rows = rows;
        spans = shifted;
      }
      for (size_t p = 0; p < packed.num_panels(); ++p) {
        float* const best = own.best.data() + p * kPanelRows;
        if (p == 0 && tokens.borrowed) {
          // Text by text: the kernel has prefetched the next one when it is checked, so that the check
          // costs no second pass over memory.
          for (size_t i = 0; i < n; ++i) {
            check_finite(tokens, texts[begin + i].begin, texts[begin + i].count);
            maxsim(packed.panel(p), view, spans + i, 1, best + i * padded, padded);
          }
        } else {
          maxsim(packed.panel(p), view, spans, n, best, padded);
        }
      }
      for (size_t q = 0; q < queries.count(); ++q) {
        const size_t row = queries.offsets[q], rows = queries.offsets[q + 1] - row;
        for (size_t i = 0; i < n; ++i) {
          const float score = sum_rows(own.best.data() + i * padded + row, rows);
          // Infinities of both signs, from values near the largest float, have no sum: they rank last.
          own.scores[q * n + i] = spans[i].count && score == score ? score : -kInfinity;
        }
      }
      block(worker, begin, n, own.scores.data());
      begin = end;
    }
  });
}

void check_values(const float* rows, size_t stride, size_t count, uint32_t dim, float limit, const char* what,
                  size_t threads) {
  constexpr size_t kRows = 1024;
  parallel_for((count + kRows - 1) / kRows, threads, [&](size_t task, size_t) {
    for (size_t i = task * kRows; i < std::min((task + 1) * kRows, count); ++i) {
      const float* row = rows + i * stride;
      if (!kernels().all_finite(Format::float32, reinterpret_cast<const uint8_t*>(row), dim)) {
        fail(ErrorKind::value, what, ": row ", i, " has a value that is not finite");
      }
      if (limit == std::numeric_limits<float>::max()) continue;
      float largest = 0;
      for (uint32_t k = 0; k < dim; ++k) largest = std::max(largest, std::abs(row[k]));
      require(largest <= limit, what, ": row ", i, " has a magnitude of ", largest, ", more than the ", limit,
              " that this codec and metric can hold");
    }
  });
}

}  // namespace tercet
