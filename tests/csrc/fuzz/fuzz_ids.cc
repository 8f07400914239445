// The table of ids against a map, with any ids.
#include <algorithm>
#include <map>
#include <optional>

#include "core/random.h"
#include "fuzz.h"
#include "index/ids.h"

using namespace tercet;

namespace {

struct Step {
  uint8_t action = 0, strings = 0;
  size_t count = 0;
  IntIds ints;
  StringIds texts;
  int64_t next = 0;
};

template <class Archive>
void describe(Archive& a, Step& s) {
  a.bounded(s.action, 0, 5);
  a.bounded(s.strings, 0, 1);
  a.bounded(s.count, 0, 9);
  a.value(s.next);
  if (s.strings) {
    for (s.texts.resize(s.count); auto& text : s.texts) {
      size_t length = text.size();
      a.bounded(length, 0, 4);
      for (text.resize(length); char& c : text) a.value(c);
    }
  } else {
    for (s.ints.resize(s.count); auto& id : s.ints) a.value(id);
  }
}

template <class Id>
bool valid(const std::vector<Id>& ids) {
  std::vector<Id> sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return false;
  if constexpr (std::is_same_v<Id, int64_t>) {
    return sorted.empty() || sorted[0] >= 0;
  } else {
    return sorted.empty() || !sorted[0].empty();
  }
}

// What the table should hold: ids by slot.
struct Model {
  Ids ids;

  template <class Id>
  std::optional<size_t> slot(const Id& id) const {
    const auto* const all = std::get_if<std::vector<Id>>(&ids);
    if (!all) return {};
    const auto found = std::find(all->begin(), all->end(), id);
    if (found == all->end()) return {};
    return static_cast<size_t>(found - all->begin());
  }
};

template <class Id>
void step(IdTable& table, Model& model, const Step& s, const std::vector<Id>& given) {
  const bool right_kind =
      table.size() == 0 || given.empty() || std::holds_alternative<std::vector<Id>>(model.ids);
  std::vector<std::optional<size_t>> where;
  bool all_known = true;
  for (const Id& id : given) {
    where.push_back(table.size() ? model.slot(id) : std::nullopt);
    all_known = all_known && where.back();
  }
  std::vector<Id> sorted = given;
  std::sort(sorted.begin(), sorted.end());
  const bool repeated = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  switch (s.action) {
    case 0:
    case 1: {  // add
      const bool added = fuzz::attempt([&] {
        const auto slots = table.slots_for_add(Ids(given));
        REQUIRE(slots.size() == given.size());
        size_t next = table.size();
        for (size_t i = 0; i < slots.size(); ++i) REQUIRE(slots[i] == (where[i] ? *where[i] : next++));
        table.add(Ids(given), slots);
      });
      REQUIRE(added == (right_kind && valid(given)));
      if (!added) break;
      if (count_of(model.ids) == 0) model.ids = std::vector<Id>();
      if (given.empty()) break;
      auto& own = std::get<std::vector<Id>>(model.ids);
      for (size_t i = 0; i < given.size(); ++i) {
        if (!where[i]) own.push_back(given[i]);
      }
      fuzz::happened(own.size() % 32);
      break;
    }
    case 2: {  // remove
      REQUIRE(fuzz::attempt([&] { table.slots_of(Ids(given)); }) == (right_kind && all_known));
      const bool removed = fuzz::attempt([&] {
        auto slots = table.slots_once(Ids(given));
        for (size_t i = 0; i < slots.size(); ++i) REQUIRE(slots[i] == *where[i]);
        std::sort(slots.begin(), slots.end(), std::greater<>());
        for (const uint32_t slot : slots) {
          table.remove(slot);
          auto& own = std::get<std::vector<Id>>(model.ids);
          own[slot] = own.back();
          own.pop_back();
        }
      });
      REQUIRE(removed == (right_kind && all_known && !repeated));
      if (removed) fuzz::happened(40 + count_of(model.ids) % 32);
      break;
    }
    case 3:
      fuzz::attempt([&] {
        const auto slots = table.known_slots(Ids(given));
        REQUIRE(std::is_sorted(slots.begin(), slots.end()));
        for (size_t i = 0; i < given.size(); ++i) {
          if (where[i]) REQUIRE(std::binary_search(slots.begin(), slots.end(), *where[i]));
        }
        REQUIRE(slots.size() <= given.size());
      });
      break;
    case 4:
      table.set_next(s.next);
      REQUIRE(table.next() >= s.next && table.next() >= 0);
      break;
    case 5:
      fuzz::attempt([&] {
        const Ids next = table.next_ids(s.count);
        REQUIRE(count_of(next) == s.count);
        const auto& ids = std::get<IntIds>(next);
        for (size_t i = 0; i < ids.size(); ++i) REQUIRE(ids[i] >= 0 && !(table.size() && model.slot(ids[i])));
      });
      break;
  }
  for (size_t i = 0; i < given.size() && i < 1; ++i) {
    const std::vector<Id> one{given[i]};
    REQUIRE(table.contains(Ids(one)) == (table.size() && model.slot(given[i]).has_value()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Reader reader(data, size);
  uint8_t steps = 0;
  reader.bounded(steps, 0, 20);
  IdTable table;
  Model model;
  for (int i = 0; i < steps; ++i) {
    Step s;
    describe(reader, s);
    if (s.strings) {
      step(table, model, s, s.texts);
    } else {
      step(table, model, s, s.ints);
    }
    REQUIRE(table.size() == count_of(model.ids));
    if (table.size()) REQUIRE(table.ids() == model.ids);
    if (table.size() > 1) REQUIRE(table.before(0, 1) != table.before(1, 0));
  }
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  std::vector<Bytes> all;
  uint64_t state = 3;
  for (int i = 0; i < 40; ++i) {
    Writer writer;
    const auto steps = static_cast<uint8_t>(random_below(state, 20));
    writer.bounded(steps, 0, 20);
    for (int j = 0; j < steps; ++j) {
      Step s;
      s.action = static_cast<uint8_t>(random_below(state, 6));
      s.strings = i % 2;
      s.count = random_below(state, 9);
      s.next = static_cast<int64_t>(random_below(state, 100));
      for (size_t k = 0; k < s.count; ++k) {
        s.ints.push_back(static_cast<int64_t>(random_below(state, 30)));
        s.texts.push_back(std::string(1 + k % 3, static_cast<char>('a' + random_below(state, 8))));
      }
      describe(writer, s);
    }
    all.push_back(writer.out);
  }
  return all;
}
