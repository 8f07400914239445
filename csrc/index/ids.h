// The caller's ids: integers >= 0 or strings, one kind per index, each with a slot. Slots are 0..size-1; a
// removed slot is filled by the last one.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/topk.h"
#include "index/slot_table.h"

namespace tercet {

using IntIds = std::vector<int64_t>;
using StringIds = std::vector<std::string>;
using Ids = std::variant<IntIds, StringIds>;

size_t count_of(const Ids& ids);

class IdTable final : public TieBreak {
 public:
  size_t size() const;
  const Ids& ids() const { return ids_; }  // by slot

  // Ids for `count` vectors without any: they number on from the largest ever seen.
  Ids next_ids(size_t count) const;

  // What next_ids continues from, so that a saved index does not give a removed number again.
  int64_t next() const { return next_; }
  void set_next(int64_t next) { next_ = std::max(next_, next); }

  // The slot of each id, new ones numbered on from size(). Throws Error, and changes nothing, if an id is
  // negative, empty, given twice or of another kind than those in the table.
  std::vector<uint32_t> slots_for_add(const Ids& ids) const;

  // Adds those of `ids` whose slot is new. All or nothing.
  void add(const Ids& ids, const std::vector<uint32_t>& slots);

  // The slots of ids that must be there: throws Error naming the missing.
  std::vector<uint32_t> slots_of(const Ids& ids) const;
  // The same of ids that must not repeat either.
  std::vector<uint32_t> slots_once(const Ids& ids) const;

  // The slots of those ids of a filter that are there, ascending, each once.
  std::vector<uint32_t> known_slots(const Ids& ids) const;

  // The slot of each id, -1 where it is not there.
  std::vector<int64_t> find(const Ids& ids) const;
  Ids at(const std::vector<uint32_t>& slots) const;

  bool contains(const Ids& one) const;

  // Frees a slot; the last slot's id moves into it.
  void remove(uint32_t slot);

  size_t bytes() const;  // of memory

  bool before(uint32_t slot_a, uint32_t slot_b) const override;

 private:
  void check_kind(const Ids& ids, const char* name) const;

  Ids ids_;
  SlotTable slots_;
  size_t characters_ = 0;  // bytes of strings that lie outside of their objects
  int64_t next_ = 0;
};

}  // namespace tercet
