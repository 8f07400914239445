// What MultiVectorIndexes need that are parts of one: where ids are, one training for all, and texts that
// move from one to the other as they are stored.
#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "index/multivector.h"

namespace tercet {

namespace {

// Takes both locks in the order of their addresses: two indexes that take from each other would else wait for
// each other.
struct BothLocks {
  BothLocks(SharedLock& to_write, SharedLock& to_read)
      : writing(to_write, std::defer_lock), reading(to_read, std::defer_lock) {
    const bool write_first = std::less<>()(&to_write, &to_read);
    if (write_first) writing.lock();
    reading.lock();
    if (!write_first) writing.lock();
  }
  std::unique_lock<SharedLock> writing;
  std::shared_lock<SharedLock> reading;
};

}  // namespace

std::vector<int64_t> MultiVectorIndex::find(const Ids& ids) const {
  std::shared_lock lock(mutex_);
  return ids_.find(ids);
}

std::vector<int64_t> MultiVectorIndex::lengths() const {
  std::shared_lock lock(mutex_);
  std::vector<int64_t> lengths;
  lengths.reserve(spans_.size());
  for (const TokenSpan& span : spans_) lengths.push_back(static_cast<int64_t>(span.count));
  return lengths;
}

void MultiVectorIndex::share_training(const MultiVectorIndex& other) {
  if (this == &other) return;
  const BothLocks locks(mutex_, other.mutex_);
  store_.share_training(other.store_);
  lists_.extend(store_.codebook()->size());
}

void MultiVectorIndex::append_from(const MultiVectorIndex& other, const std::vector<uint32_t>& slots,
                                   size_t threads) {
  require(this != &other, "append_from: an index cannot be appended to itself");
  const BothLocks locks(mutex_, other.mutex_);
  require(residual_ == other.residual_ && store_.is_like(other.store_),
          "append_from: expected an index of the same settings and training");
  other.opened_.check();
  opened_.check();
  std::vector<size_t> offsets{0};
  for (const uint32_t slot : slots) {
    require(slot < other.spans_.size(), "append_from: no slot ", slot, " of ", other.spans_.size());
    offsets.push_back(offsets.back() + other.spans_[slot].count);
  }
  const Ids ids = other.ids_.at(slots);
  const std::vector<uint32_t> added = ids_.slots_for_add(ids);
  require(std::all_of(added.begin(), added.end(), [&](uint32_t slot) { return slot >= ids_.size(); }),
          "append_from: some ids are there already");
  // All that can fail came before, or comes before anything changes.
  make_room_for(slots.size(), offsets.back());
  ids_.add(ids, added);
  opened_.release();
  const size_t first_row = store_.rows();
  store_.resize(first_row + offsets.back());
  for (size_t i = 0; i < slots.size(); ++i) {
    const TokenSpan from = other.spans_[slots[i]];
    store_.copy(other.store_, from.begin, first_row + offsets[i], from.count);
  }
  place(added, first_row, offsets);
  list_if_worth_it(threads);
}

}  // namespace tercet
