// What this machine can run, and which level of it is used.
#pragma once
#include <vector>

#include "cpu/isa.h"

namespace tercet {

const char* isa_name(Isa isa);

// Every level this machine and its operating system support, ascending; never empty.
const std::vector<Isa>& supported_isas();

// The highest supported level, or the one named by TERCET_ISA. Throws Error if that is unknown or
// unsupported: silently running something else would make a measurement or a bug report worthless.
Isa selected_isa();

}  // namespace tercet
