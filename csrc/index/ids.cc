#include "index/ids.h"

#include <algorithm>
#include <limits>

#include "core/aligned.h"
#include "core/error.h"

namespace tercet {
namespace {

// Up to five ids, as an error names them.
template <class Id>
std::string list_of(const std::vector<Id>& ids) {
  std::ostringstream text;
  for (size_t i = 0; i < ids.size() && i < 5; ++i) text << (i ? ", " : "") << ids[i];
  if (ids.size() > 5) text << ", ... (" << ids.size() << " in all)";
  return text.str();
}

void check_value(int64_t id) { require(id >= 0, "ids: expected integers >= 0, got ", id); }
void check_value(const std::string& id) { require(!id.empty(), "ids: expected non-empty strings, got \"\""); }

size_t characters_of(int64_t) { return 0; }
size_t characters_of(const std::string& id) {
  return id.size() > std::string().capacity() ? id.size() + 1 : 0;
}

// Throws Error naming those that come a second time.
template <class Id>
void check_once(const std::vector<Id>& ids) {
  SlotTable seen;
  seen.make_room(ids, ids.size());
  std::vector<Id> twice;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (seen.find(ids, ids[i]) == SlotTable::kNone) {
      seen.insert(ids, static_cast<uint32_t>(i));
    } else {
      twice.push_back(ids[i]);
    }
  }
  require(twice.empty(), "ids: given twice in one call: ", list_of(twice));
}

}  // namespace

size_t count_of(const Ids& ids) {
  return std::visit([](const auto& v) { return v.size(); }, ids);
}

size_t IdTable::size() const { return count_of(ids_); }

void IdTable::check_kind(const Ids& ids, const char* name) const {
  if (size() == 0 || count_of(ids) == 0 || ids.index() == ids_.index()) return;
  constexpr const char* kKinds[] = {"int", "str"};
  fail(ErrorKind::type, name, ": this index has ", kKinds[ids_.index()], " ids, got ", kKinds[ids.index()]);
}

Ids IdTable::next_ids(size_t count) const {
  require(size() == 0 || std::holds_alternative<IntIds>(ids_),
          "ids: this index has str ids, so each vector needs one");
  require(count <= static_cast<size_t>(std::numeric_limits<int64_t>::max() - next_),
          "ids: no integers left after ", next_);
  IntIds ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = next_ + static_cast<int64_t>(i);
  return ids;
}

std::vector<uint32_t> IdTable::slots_for_add(const Ids& given) const {
  check_kind(given, "ids");
  return std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        const auto check_room = [](size_t count) {
          require(count < SlotTable::kNone, "an index holds at most 2^32 - 2 ids, got ", count);
        };
        check_room(ids.size());
        for (const Id& id : ids) check_value(id);
        check_once(ids);
        const auto* const own = size() ? std::get_if<std::vector<Id>>(&ids_) : nullptr;
        std::vector<uint32_t> slots;
        slots.reserve(ids.size());
        size_t next = size();
        for (const Id& id : ids) {
          const uint32_t found = own ? slots_.find(*own, id) : SlotTable::kNone;
          slots.push_back(found == SlotTable::kNone ? static_cast<uint32_t>(next++) : found);
        }
        check_room(next);
        return slots;
      },
      given);
}

void IdTable::add(const Ids& given, const std::vector<uint32_t>& slots) {
  if (slots.empty() && size()) return;  // no ids are of either kind
  std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        if (size() == 0) ids_ = std::vector<Id>();  // an empty table takes either kind
        auto& own = std::get<std::vector<Id>>(ids_);
        const size_t before = own.size();
        try {
          make_room(own, before + ids.size());
          for (size_t i = 0; i < ids.size(); ++i) {
            if (slots[i] >= before) own.push_back(ids[i]);
          }
          slots_.make_room(own, own.size());
        } catch (...) {
          own.resize(before);
          throw;
        }
        for (size_t slot = before; slot < own.size(); ++slot) {
          slots_.insert(own, static_cast<uint32_t>(slot));
          characters_ += characters_of(own[slot]);
        }
        if constexpr (std::is_same_v<Id, int64_t>) {
          for (int64_t id : ids)
            next_ = std::max(next_, id == std::numeric_limits<int64_t>::max() ? id : id + 1);
        }
      },
      given);
}

std::vector<uint32_t> IdTable::slots_of(const Ids& given) const {
  check_kind(given, "ids");
  if (count_of(given) == 0) return {};
  return std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        const auto* const own = std::get_if<std::vector<Id>>(&ids_);
        std::vector<Id> missing;
        std::vector<uint32_t> slots;
        for (const Id& id : ids) {
          const uint32_t slot = own ? slots_.find(*own, id) : SlotTable::kNone;
          if (slot == SlotTable::kNone) {
            missing.push_back(id);
          } else {
            slots.push_back(slot);
          }
        }
        if (!missing.empty()) fail(ErrorKind::lookup, "ids not in this index: ", list_of(missing));
        return slots;
      },
      given);
}

std::vector<uint32_t> IdTable::slots_once(const Ids& given) const {
  std::vector<uint32_t> slots = slots_of(given);
  std::visit([](const auto& ids) { check_once(ids); }, given);
  return slots;
}

std::vector<uint32_t> IdTable::known_slots(const Ids& given) const {
  if (count_of(given) == 0 || size() == 0) return {};
  check_kind(given, "filter");
  return std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        const auto& own = std::get<std::vector<Id>>(ids_);
        std::vector<uint32_t> slots;
        for (const Id& id : ids) {
          if (const uint32_t slot = slots_.find(own, id); slot != SlotTable::kNone) slots.push_back(slot);
        }
        std::sort(slots.begin(), slots.end());
        slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
        return slots;
      },
      given);
}

std::vector<int64_t> IdTable::find(const Ids& given) const {
  std::vector<int64_t> slots(count_of(given), -1);
  if (given.index() != ids_.index()) return slots;
  std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        const auto& own = std::get<std::vector<Id>>(ids_);
        for (size_t i = 0; i < ids.size(); ++i) {
          if (const uint32_t slot = slots_.find(own, ids[i]); slot != SlotTable::kNone) slots[i] = slot;
        }
      },
      given);
  return slots;
}

Ids IdTable::at(const std::vector<uint32_t>& slots) const {
  return std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        std::vector<Id> picked;
        picked.reserve(slots.size());
        for (const uint32_t slot : slots) picked.push_back(ids[slot]);
        return Ids(std::move(picked));
      },
      ids_);
}

bool IdTable::contains(const Ids& one) const {
  return one.index() == ids_.index() && !known_slots(one).empty();
}

void IdTable::remove(uint32_t slot) {
  std::visit(
      [&]<class Id>(std::vector<Id>& ids) {
        slots_.erase(ids, slot);
        characters_ -= characters_of(ids[slot]);
        if (slot + 1 != ids.size()) {
          slots_.move(ids, static_cast<uint32_t>(ids.size() - 1), slot);
          ids[slot] = std::move(ids.back());
        }
        ids.pop_back();
        if (ids.empty()) slots_.clear();
      },
      ids_);
}

size_t IdTable::bytes() const {
  const size_t each = std::visit([]<class Id>(const std::vector<Id>&) { return sizeof(Id); }, ids_);
  return size() * each + characters_ + slots_.bytes();
}

bool IdTable::before(uint32_t slot_a, uint32_t slot_b) const {
  return std::visit([&](const auto& ids) { return ids[slot_a] < ids[slot_b]; }, ids_);
}

}  // namespace tercet
