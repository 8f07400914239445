// The table of slots against a map, with ids that are near to each other, and far.
#include "index/slot_table.h"

#include <map>

#include "check.h"
#include "core/random.h"

using namespace tercet;

namespace {

template <class Id, class Make>
void compare_with_a_map(const Make& make) {
  std::vector<Id> ids;
  std::map<Id, uint32_t> model;
  SlotTable table;
  uint64_t state = 7;
  for (int step = 0; step < 6000; ++step) {
    const Id id = make(random_below(state, 500));
    const auto known = model.find(id);
    CHECK(table.find(ids, id) == (known == model.end() ? SlotTable::kNone : known->second));
    const bool growing = step / 1000 % 2 == 0;
    if (known == model.end()) {
      if (!growing && step % 4) continue;
      ids.push_back(id);
      table.make_room(ids, ids.size());
      table.insert(ids, static_cast<uint32_t>(ids.size() - 1));
      model[id] = static_cast<uint32_t>(ids.size() - 1);
    } else if (!growing) {
      const auto last = static_cast<uint32_t>(ids.size() - 1);
      const uint32_t slot = known->second;
      table.erase(ids, slot);
      model.erase(known);
      if (slot != last) {  // as IdTable fills a hole
        table.move(ids, last, slot);
        model[ids[last]] = slot;
        ids[slot] = ids[last];
      }
      ids.pop_back();
    }
  }
  CHECK(ids.size() > 20 && model.size() == ids.size());
  for (const auto& [id, slot] : model) CHECK(table.find(ids, id) == slot);
  CHECK(table.bytes() < 500 * 10);
  table.clear();
  CHECK(table.bytes() == 0);
  CHECK(ids.empty() || table.find(ids, ids[0]) == SlotTable::kNone);
}

}  // namespace

TEST(a_slot_table_is_a_map) {
  compare_with_a_map<int64_t>([](uint64_t i) { return static_cast<int64_t>(i); });
  compare_with_a_map<int64_t>([](uint64_t i) { return static_cast<int64_t>(i << 40); });
  compare_with_a_map<std::string>([](uint64_t i) { return "document " + std::to_string(i); });
}
