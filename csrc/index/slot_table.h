// Which slot an id has: a hash table of slots, by open addressing. The ids are the caller's, in the order of
// slots, and are compared where they lie, so that an entry is 4 bytes: 6 to 9 for each id, where the nodes of
// a map, which hold every id a second time, take 40 and more.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tercet {

class SlotTable {
 public:
  static constexpr uint32_t kNone = 0xffffffff;

  // In all methods `ids` has the id of every slot of the table.
  template <class Id>
  uint32_t find(const std::vector<Id>& ids, const Id& id) const {
    return entries_.empty() ? kNone : entries_[place_of(id, [&](uint32_t slot) { return ids[slot] == id; })];
  }

  // After this insert() cannot fail until there are `slots` of them.
  template <class Id>
  void make_room(const std::vector<Id>& ids, size_t slots) {
    // Of three places two may be taken: then an id that is there is found in the second, on average, and one
    // that is not is given up in the fifth.
    if (slots == 0 || slots * 3 < entries_.size() * 2) return;
    std::vector<uint32_t> larger(std::max(slots * 3 / 2 + 2, entries_.size() * 3 / 2), kNone);
    larger.swap(entries_);
    for (const uint32_t slot : larger) {
      if (slot != kNone) insert(ids, slot);
    }
  }
  // A slot whose id is not in the table.
  template <class Id>
  void insert(const std::vector<Id>& ids, uint32_t slot) noexcept {
    entries_[place_of(ids[slot], [](uint32_t) { return false; })] = slot;
  }
  // A slot that is in the table, with its id.
  template <class Id>
  void erase(const std::vector<Id>& ids, uint32_t slot) noexcept {
    size_t hole = place_of(ids[slot], [&](uint32_t other) { return other == slot; });
    // What lies behind, up to the next empty place, may have been kept from the hole by what was in it.
    for (size_t i = after(hole); entries_[i] != kNone; i = after(i)) {
      if (steps(home(ids[entries_[i]]), i) < steps(hole, i)) continue;
      entries_[hole] = entries_[i];
      hole = i;
    }
    entries_[hole] = kNone;
  }
  // The id of slot `from` gets another slot.
  template <class Id>
  void move(const std::vector<Id>& ids, uint32_t from, uint32_t to) noexcept {
    entries_[place_of(ids[from], [&](uint32_t slot) { return slot == from; })] = to;
  }
  void clear() noexcept { std::vector<uint32_t>().swap(entries_); }

  size_t bytes() const { return entries_.size() * sizeof(uint32_t); }

 private:
  // Any two integers that differ in few bits must not be neighbours: ids are often multiples of something.
  // (The finalizer of MurmurHash3.)
  static uint64_t hash(int64_t id) {
    auto h = static_cast<uint64_t>(id);
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
  }
  static uint64_t hash(const std::string& id) { return std::hash<std::string>()(id); }

  template <class Id>
  size_t home(const Id& id) const {
    return static_cast<size_t>(hash(id) % entries_.size());
  }
  size_t after(size_t place) const { return place + 1 == entries_.size() ? 0 : place + 1; }
  size_t steps(size_t from, size_t to) const { return to >= from ? to - from : to + entries_.size() - from; }

  // Where a slot is that `is` says is it, or the empty place where it would be.
  template <class Id, class Is>
  size_t place_of(const Id& id, const Is& is) const {
    size_t place = home(id);
    while (entries_[place] != kNone && !is(entries_[place])) place = after(place);
    return place;
  }

  std::vector<uint32_t> entries_;
};

}  // namespace tercet
