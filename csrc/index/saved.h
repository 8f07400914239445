// What indexes save alike. Ids are the arrays "ids" (int64), or "id_bytes" and "id_offsets" (UTF-8, end to
// end), and "next_id"; the bias of distances is "bias".
#pragma once
#include "index/ids.h"
#include "storage/container.h"
#include "storage/sections.h"

namespace tercet {

void save_ids(Sections& out, const IdTable& ids);

struct SavedIds {
  Ids ids;
  int64_t next;
};
// Throws Error for what are no ids; whether a table takes them, it says itself.
SavedIds restore_ids(const Container& file);

// Adds what was saved to an empty table.
void restore_ids(IdTable& table, const SavedIds& saved);

// The bias of so many rows; throws Error for what is none.
std::vector<float> restore_bias(const Container& file, size_t rows);

}  // namespace tercet
