#include "index/saved.h"

#include <cmath>

#include "core/error.h"

namespace tercet {
namespace {

// Whether the bytes are UTF-8 as Python writes and reads it: shortest forms, no surrogates, up to U+10FFFF.
bool is_utf8(const uint8_t* p, const uint8_t* end) {
  while (p < end) {
    const uint8_t first = *p++;
    if (first < 0x80) continue;
    const int more = first >= 0xc2 && first <= 0xdf   ? 1
                     : first >= 0xe0 && first <= 0xef ? 2
                     : first >= 0xf0 && first <= 0xf4 ? 3
                                                      : 0;
    if (more == 0 || end - p < more) return false;
    // The second byte is what makes a form too long, a surrogate, or too large.
    const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (p[0] < low || p[0] > high) return false;
    for (int i = 1; i < more; ++i) {
      if (p[i] < 0x80 || p[i] > 0xbf) return false;
    }
    p += more;
  }
  return true;
}

}  // namespace

void save_ids(Sections& out, const IdTable& ids) {
  if (const auto* const ints = std::get_if<IntIds>(&ids.ids())) {
    out.view("ids", *ints);
  } else {
    std::vector<uint8_t> bytes;
    std::vector<int64_t> offsets{0};
    for (const std::string& id : std::get<StringIds>(ids.ids())) {
      bytes.insert(bytes.end(), id.begin(), id.end());
      offsets.push_back(static_cast<int64_t>(bytes.size()));
    }
    out.own("id_bytes", std::move(bytes));
    out.own("id_offsets", std::move(offsets));
  }
  out.own("next_id", std::vector<int64_t>{ids.next()});
}

SavedIds restore_ids(const Container& file) {
  const int64_t next = file.copy<int64_t>("next_id", 1)[0];
  const auto offsets = file.read<int64_t>("id_offsets");
  if (offsets.empty()) {
    const auto ids = file.read<int64_t>("ids");
    return {IntIds(ids.begin(), ids.end()), next};
  }
  const auto bytes = file.read<uint8_t>("id_bytes");
  require(offsets.front() == 0 && offsets.back() == static_cast<int64_t>(bytes.size()),
          "id_offsets: expected to rise from 0 to ", bytes.size());
  StringIds ids;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    require(offsets[i] <= offsets[i + 1] && offsets[i + 1] <= offsets.back(),
            "id_offsets: expected to rise, got ", offsets[i + 1], " after ", offsets[i]);
    const uint8_t* const begin = bytes.data() + offsets[i];
    const uint8_t* const end = bytes.data() + offsets[i + 1];
    require(is_utf8(begin, end), "id_bytes: id ", i, " is not UTF-8");
    ids.emplace_back(begin, end);
  }
  return {std::move(ids), next};
}

void restore_ids(IdTable& table, const SavedIds& saved) {
  table.add(saved.ids, table.slots_for_add(saved.ids));
  table.set_next(saved.next);
}

std::vector<float> restore_bias(const Container& file, size_t rows) {
  std::vector<float> bias = file.copy<float>("bias", rows);
  for (size_t i = 0; i < rows; ++i) {
    require(bias[i] <= 0 && std::isfinite(bias[i]), "bias: row ", i, " has ", bias[i]);
  }
  return bias;
}

}  // namespace tercet
