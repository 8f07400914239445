#include "index/ids.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

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
        const auto* map = size() ? std::get_if<Map<Id>>(&slots_) : nullptr;
        std::unordered_set<Id> seen(ids.size());
        std::vector<Id> twice;
        std::vector<uint32_t> slots;
        slots.reserve(ids.size());
        size_t next = size();
        for (const Id& id : ids) {
          check_value(id);
          if (!seen.insert(id).second) twice.push_back(id);
          const auto found = map ? map->find(id) : typename Map<Id>::const_iterator{};
          const bool known = map && found != map->end();
          slots.push_back(known ? found->second : static_cast<uint32_t>(next++));
        }
        require(twice.empty(), "ids: given twice in one call: ", list_of(twice));
        require(next < std::numeric_limits<uint32_t>::max(), "an index holds at most 2^32 - 2 ids, got ",
                next);
        return slots;
      },
      given);
}

void IdTable::add(const Ids& given, const std::vector<uint32_t>& slots) {
  if (slots.empty() && size()) return;  // no ids are of either kind
  std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        if (size() == 0) {  // an empty table takes either kind
          ids_ = std::vector<Id>();
          slots_ = Map<Id>();
        }
        auto& own = std::get<std::vector<Id>>(ids_);
        auto& map = std::get<Map<Id>>(slots_);
        const size_t before = own.size();
        try {
          for (size_t i = 0; i < ids.size(); ++i) {
            if (slots[i] < before) continue;
            own.push_back(ids[i]);
            map.emplace(ids[i], slots[i]);
          }
        } catch (...) {
          for (size_t i = before; i < own.size(); ++i) map.erase(own[i]);
          own.resize(before);
          throw;
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
        const auto* map = std::get_if<Map<Id>>(&slots_);
        std::unordered_set<Id> seen(ids.size());
        std::vector<Id> missing, twice;
        std::vector<uint32_t> slots;
        for (const Id& id : ids) {
          const auto found = map ? map->find(id) : typename Map<Id>::const_iterator{};
          if (!map || found == map->end()) {
            missing.push_back(id);
          } else {
            slots.push_back(found->second);
          }
          if (!seen.insert(id).second) twice.push_back(id);
        }
        if (!missing.empty()) fail(ErrorKind::lookup, "ids not in this index: ", list_of(missing));
        require(twice.empty(), "ids: given twice in one call: ", list_of(twice));
        return slots;
      },
      given);
}

std::vector<uint32_t> IdTable::known_slots(const Ids& given) const {
  if (count_of(given) == 0 || size() == 0) return {};
  check_kind(given, "filter");
  return std::visit(
      [&]<class Id>(const std::vector<Id>& ids) {
        const auto& map = std::get<Map<Id>>(slots_);
        std::vector<uint32_t> slots;
        for (const Id& id : ids) {
          if (const auto found = map.find(id); found != map.end()) slots.push_back(found->second);
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
        const auto& map = std::get<Map<Id>>(slots_);
        for (size_t i = 0; i < ids.size(); ++i) {
          if (const auto found = map.find(ids[i]); found != map.end()) slots[i] = found->second;
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
        auto& map = std::get<Map<Id>>(slots_);
        map.erase(ids[slot]);
        if (slot + 1 != ids.size()) {
          ids[slot] = std::move(ids.back());
          map[ids[slot]] = slot;
        }
        ids.pop_back();
      },
      ids_);
}

bool IdTable::before(uint32_t slot_a, uint32_t slot_b) const {
  return std::visit([&](const auto& ids) { return ids[slot_a] < ids[slot_b]; }, ids_);
}

}  // namespace tercet
