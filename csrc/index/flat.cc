#include "index/flat.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <mutex>

#include "codec/distance.h"
#include "core/error.h"
#include "core/parallel.h"
#include "index/metric.h"
#include "index/saved.h"

namespace tercet {

FlatIndex::FlatIndex(uint32_t dim, Metric metric, const std::string& codec, uint64_t seed, bool rescore)
    : metric_(metric),
      store_(make_codec(codec, dim, seed), dim),
      originals_(rescore ? std::make_unique<Originals>(dim) : nullptr) {}

float FlatIndex::limit() const {
  constexpr float kMax = std::numeric_limits<float>::max();
  // A cosine index stores unit vectors; squared distances must not overflow: |q|^2 + 2 <q, x> + |x|^2. Nor
  // must the bounds of rescoring.
  if (metric_ == Metric::cosine) return kMax;
  const float scored = metric_ == Metric::l2 ? std::sqrt(kMax / 8 / static_cast<float>(dim())) : kMaxScored;
  return std::min({scored, store_.codec().max_magnitude(), originals_ ? kMaxScored : kMax});
}

void FlatIndex::encode(size_t slot, const float* vector, float* scratch) noexcept {
  float* const decoded = scratch + dim();
  if (metric_ == Metric::cosine) {
    normalise(vector, dim(), scratch);
    vector = scratch;
  }
  store_.encode(slot, vector);
  if (!originals_ && !has_bias()) return;
  store_.decode(slot, decoded);
  if (originals_) originals_->set(slot, vector, decoded);
  if (has_bias()) bias_of(slot, originals_ ? vector : decoded);
}

void FlatIndex::bias_of(size_t slot, const float* vector) noexcept {
  bias_[slot] = static_cast<float>(-squared_norm(vector, dim()));
}

Ids FlatIndex::add(const float* vectors, size_t stride, size_t count, std::optional<Ids> given,
                   size_t threads) {
  check_values(vectors, stride, count, dim(), limit(), "vectors", threads);
  std::unique_lock lock(mutex_);
  Ids ids = given ? std::move(*given) : ids_.next_ids(count);
  require(count_of(ids) == count, "ids: expected ", count, ", one per vector, got ", count_of(ids));
  const std::vector<uint32_t> slots = ids_.slots_for_add(ids);
  opened_.check();
  const size_t after =
      std::max<size_t>(ids_.size(), *std::max_element(slots.begin(), slots.end()) + size_t{1});
  // All that can fail comes before anything changes.
  store_.reserve(after);
  if (originals_) originals_->reserve(after);
  if (has_bias()) make_room(bias_, after);
  std::vector<std::vector<float>> scratch(worker_count(count, threads), std::vector<float>(2 * dim()));
  const std::function<void(size_t, size_t)> encode_one = [&](size_t i, size_t worker) {
    encode(slots[i], vectors + i * stride, scratch[worker].data());
  };
  ids_.add(ids, slots);
  opened_.release();
  store_.resize(after);
  if (originals_) originals_->resize(after);
  if (has_bias()) bias_.resize(after);
  parallel_for(count, threads, encode_one);
  return ids;
}

void FlatIndex::remove(const Ids& ids) {
  std::unique_lock lock(mutex_);
  std::vector<uint32_t> slots = ids_.slots_once(ids);
  opened_.check();
  store_.reserve(ids_.size());  // rows move
  if (originals_) originals_->reserve(ids_.size());
  opened_.release();
  // From the back, so that the last row, which moves into the hole, is never one still to be removed.
  std::sort(slots.begin(), slots.end(), std::greater<>());
  for (const uint32_t slot : slots) {
    const size_t last = ids_.size() - 1;
    ids_.remove(slot);
    if (slot != last) {
      store_.move(last, slot, 1);
      if (originals_) originals_->move(last, slot);
      if (has_bias()) bias_[slot] = bias_[last];
    }
    store_.resize(last);
    if (originals_) originals_->resize(last);
    if (has_bias()) bias_.resize(last);
  }
}

size_t FlatIndex::similar(const float* queries, size_t count) const {
  constexpr size_t kMost = 128;  // contenders of all of them are kept; of rows that are all alike, every row
  double shortest = 0, longest = 0;
  for (size_t q = 0; q < std::min(count, kMost) && metric_ == Metric::l2; ++q) {
    const double size = squared_norm(queries + q * dim(), dim());
    shortest = q ? std::min(shortest, size) : size;
    longest = std::max(longest, size);
    if (longest > 4 * shortest) return std::max<size_t>(q, 1);
  }
  return std::min(count, kMost);
}

FlatIndex::Hits FlatIndex::contenders(const float* queries, size_t count, size_t k, const ScanRows& rows,
                                      size_t threads) const {
  const uint32_t d = dim();
  const Codec& codec = store_.codec();
  // Bounds grow with the query's length, and are the same for all queries of a scan: what is a dot product is
  // computed with queries of length 1, which ranks alike. A distance would not.
  std::vector<float> scaled(queries, queries + count * d);
  double longest = 0, largest_error = 0, shortest = 1;
  for (size_t q = 0; q < count; ++q) {
    float* const row = scaled.data() + q * d;
    if (metric_ == Metric::dot) {
      const double size = std::sqrt(squared_norm(row, d));
      if (size > 0) shortest = std::min(shortest, size);
      normalise(row, d, row);
    }
    longest = std::max(longest, static_cast<double>(length(row, d)));
  }
  std::vector<float> errors(count);
  AlignedVector<float> upper(ids_.size()), widths(ids_.size());
  const PackedQueries packed = codec.bind(scaled.data(), count, d, errors.data());
  for (const float e : errors) largest_error = std::max(largest_error, static_cast<double>(e));
  originals_->bounds(longest, largest_error, shortest, rows.rows.bias, upper.data(), widths.data());
  ScanRows bounded = rows;
  bounded.rows.bias = upper.data();
  return scan_contenders(packed, bounded, widths.data(), k, threads);
}

PackedQueries FlatIndex::bind_float32(const float* queries, size_t count) const {
  return PackedQueries(
      {reinterpret_cast<const uint8_t*>(queries), count, dim() * sizeof(float), dim(), float_format()});
}

std::vector<Candidate> FlatIndex::rescore(const PackedQueries& query, std::vector<uint32_t> rows,
                                          size_t k) const {
  if (rows.empty()) return {};
  std::sort(rows.begin(), rows.end());
  ScanRows few;
  few.rows = originals_->view(float_format());
  few.list = rows.data();
  few.list_size = rows.size();
  rescored_ += rows.size();
  return std::move(scan_topk(query, few, k, ids_, 1)[0]);
}

std::vector<Candidate> FlatIndex::prove(const float* query, const std::vector<Candidate>& contenders,
                                        size_t k) const {
  // Those with the highest bounds first. Then the k-th best score is known, where before there was a lower
  // bound of it, and only what may still reach that is left: a third of all, with int8.
  const size_t first = std::min(contenders.size(), 2 * k);
  const auto rows_of = [&](size_t begin, size_t end) {
    std::vector<uint32_t> rows;
    for (size_t i = begin; i < end; ++i) rows.push_back(contenders[i].row);
    return rows;
  };
  const PackedQueries packed = bind_float32(query, 1);
  std::vector<Candidate> best = rescore(packed, rows_of(0, first), k);
  if (first == contenders.size()) return best;
  // Bounds are those of the query that contenders() made of this one, and lack -|q|^2 of a distance.
  const double square = squared_norm(query, dim()), worst = best[k - 1].score;
  double reached = worst, slack = 0x1p-20 * std::abs(worst);
  if (metric_ == Metric::l2) reached += square, slack += 0x1p-20 * square;
  if (metric_ == Metric::dot && square > 0) {
    reached /= std::sqrt(square);
    slack = (slack + Originals::subnormals(dim())) / std::sqrt(square);
  }
  size_t end = first;
  while (end < contenders.size() && contenders[end].score >= reached - slack) ++end;
  for (const Candidate& c : rescore(packed, rows_of(first, end), k)) best.push_back(c);
  std::sort(best.begin(), best.end(), BetterThan{&ids_});
  best.resize(k);
  return best;
}

// A distance is a dot product: -|q - x|^2 = <2 q, x> - |x|^2 - |q|^2; doubling is exact, -|x|^2 is the row's
// bias, and |q|^2 does not change the order.
std::vector<float> FlatIndex::doubled(const float* queries, size_t count) const {
  std::vector<float> prepared(queries, queries + count * dim());
  for (size_t i = 0; has_bias() && i < prepared.size(); ++i) prepared[i] *= 2;
  return prepared;
}

FlatIndex::Hits FlatIndex::scan(const float* queries, size_t count, size_t k, const ScanRows& rows,
                                bool exact, size_t threads) const {
  if (rows.rows.format == float_format())
    return scan_topk(bind_float32(queries, count), rows, k, ids_, threads);
  if (originals_) {
    searched_ += count;
    return exact ? prove(queries, count, k, rows, threads) : guess(queries, count, k, rows, threads);
  }
  const PackedQueries packed = store_.codec().bind(doubled(queries, count).data(), count, dim());
  if (!has_bias()) return scan_topk(packed, rows, k, ids_, threads);
  std::vector<float> squares(count);
  for (size_t q = 0; q < count; ++q)
    squares[q] = static_cast<float>(squared_norm(queries + q * dim(), dim()));
  return scan_distances(packed, rows, squares.data(), k, ids_, threads);
}

FlatIndex::Hits FlatIndex::prove(const float* queries, size_t count, size_t k, const ScanRows& rows,
                                 size_t threads) const {
  Hits hits;
  while (hits.size() < count) {
    const float* const first = queries + hits.size() * dim();
    const size_t some = similar(first, count - hits.size());
    Hits found = contenders(doubled(first, some).data(), some, k, rows, threads);
    parallel_for(some, threads, [&](size_t q, size_t) { found[q] = prove(first + q * dim(), found[q], k); });
    std::move(found.begin(), found.end(), std::back_inserter(hits));
  }
  return hits;
}

FlatIndex::Hits FlatIndex::guess(const float* queries, size_t count, size_t k, const ScanRows& rows,
                                 size_t threads) const {
  const uint32_t d = dim();
  const size_t wide = std::max(k, kFewest);
  const PackedQueries packed = store_.codec().bind(doubled(queries, count).data(), count, d);
  Hits hits = scan_topk(packed, rows, kRescored * wide, ids_, threads);
  const bool fine = code_bits(store_.codec().format()) >= 4;
  std::vector<uint8_t> confused(count);
  parallel_for(count, threads, [&](size_t q, size_t) {
    std::vector<std::pair<uint32_t, size_t>> ranks;  // of rows, by their codes
    std::vector<uint32_t> chosen;
    for (const Candidate& c : hits[q]) {
      ranks.emplace_back(c.row, ranks.size());
      chosen.push_back(c.row);
    }
    std::sort(ranks.begin(), ranks.end());
    hits[q] = rescore(bind_float32(queries + q * d, 1), std::move(chosen), wide);
    size_t sum = 0;
    for (const Candidate& c : hits[q])
      sum += std::lower_bound(ranks.begin(), ranks.end(), std::pair{c.row, size_t{0}})->second;
    // Where codes tell vectors apart, the best are in front, at a mean rank of wide / 2; where they do not,
    // anywhere, at that of kRescored * wide / 2. Who asks for codes of 1 or 2 bits knows that they are
    // coarse.
    confused[q] = fine && sum > wide * hits[q].size();
    hits[q].resize(std::min(k, hits[q].size()));
  });

  std::vector<size_t> again;
  std::vector<float> unclear;
  for (size_t q = 0; q < count; ++q) {
    if (!confused[q]) continue;
    again.push_back(q);
    unclear.insert(unclear.end(), queries + q * d, queries + (q + 1) * d);
  }
  Hits proven = prove(unclear.data(), again.size(), k, rows, threads);
  for (size_t i = 0; i < again.size(); ++i) hits[again[i]] = std::move(proven[i]);
  return hits;
}

Results FlatIndex::search(const float* queries, size_t count, size_t k, const Filters& filters, bool exact,
                          size_t threads) const {
  const uint32_t d = dim();
  check_values(queries, d, count, d, limit(), "queries", threads);
  check_filters(filters, count);
  std::vector<float> prepared(queries, queries + count * d);
  for (size_t q = 0; q < count && metric_ == Metric::cosine; ++q) {
    normalise(prepared.data() + q * d, d, prepared.data() + q * d);
  }

  std::shared_lock lock(mutex_);
  opened_.check();
  ScanRows rows;
  rows.rows = store_.view();
  if (rows.rows.format == Format::float32) rows.rows.format = float_format();
  if (has_bias()) rows.rows.bias = bias_.data();
  Hits hits;
  const auto scan_some = [&](size_t first, size_t n) {
    Hits some = scan(prepared.data() + first * d, n, k, rows, exact, threads);
    std::move(some.begin(), some.end(), std::back_inserter(hits));
  };
  if (filters.empty()) {
    scan_some(0, count);
  } else {
    const bool shared = filters.size() == 1;
    std::vector<uint32_t> allowed;
    for (size_t q = 0; q < filters.size(); ++q) {
      const bool all = std::holds_alternative<std::monostate>(filters[q]);
      allowed = all ? std::vector<uint32_t>() : allowed_slots(filters[q], ids_);
      rows.list = all ? nullptr : allowed.data();
      rows.list_size = allowed.size();
      if (!all && allowed.empty()) {
        hits.resize(hits.size() + (shared ? count : 1));
      } else {
        scan_some(shared ? 0 : q, shared ? count : 1);
      }
    }
  }
  return make_results(hits, k, ids_);
}

std::vector<float> FlatIndex::get(const Ids& ids) const {
  std::shared_lock lock(mutex_);
  const std::vector<uint32_t> slots = ids_.slots_of(ids);
  opened_.check();
  std::vector<float> rows(slots.size() * dim());
  for (size_t i = 0; i < slots.size(); ++i) {
    float* const row = rows.data() + i * dim();
    if (originals_) {
      std::copy(originals_->row(slots[i]), originals_->row(slots[i]) + dim(), row);
    } else {
      store_.decode(slots[i], row);
    }
  }
  return rows;
}

bool FlatIndex::contains(const Ids& one) const {
  std::shared_lock lock(mutex_);
  return ids_.contains(one);
}

Ids FlatIndex::ids() const {
  std::shared_lock lock(mutex_);
  return ids_.ids();
}

size_t FlatIndex::size() const {
  std::shared_lock lock(mutex_);
  return ids_.size();
}

size_t FlatIndex::bytes() const {
  std::shared_lock lock(mutex_);
  return store_.bytes() + bias_.size() * sizeof(float) + (originals_ ? originals_->bytes() : 0);
}

void FlatIndex::save(const SaveTo& to) const {
  std::shared_lock lock(mutex_);
  opened_.check();
  Sections out;
  save_ids(out, ids_);
  if (has_bias()) out.view("bias", bias_);
  store_.save(out, {{0, ids_.size()}});
  if (originals_) originals_->save(out);
  to(out);
}

void FlatIndex::restore(std::shared_ptr<const Container> file) {
  std::unique_lock lock(mutex_);
  std::vector<std::string> payload = CodeStore::payload();
  file->blame([&] {
    const SavedIds saved = restore_ids(*file);
    const size_t count = count_of(saved.ids);
    if (has_bias()) bias_ = restore_bias(*file, count);
    store_.restore(*file, count);
    if (originals_) originals_->restore(*file, count);
    restore_ids(ids_, saved);
  });
  if (originals_) payload.push_back(Originals::kPayload);
  opened_.set(std::move(file), std::move(payload), [this] {
    store_.check_codes();
    if (originals_ && ids_.size())
      check_values(originals_->row(0), dim(), ids_.size(), dim(), limit(), "originals", 0);
  });
}

void FlatIndex::verify() const {
  std::shared_lock lock(mutex_);
  opened_.verify();
}

}  // namespace tercet
