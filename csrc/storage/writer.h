// Sections into a file of the format, or into memory.
#pragma once
#include <string>

#include "storage/sections.h"

namespace tercet {

// Writes a descriptor from its beginning; whoever opened it makes it durable and puts it in its place. Throws
// std::system_error.
void write_container(int file, const Sections& sections);

std::string container_bytes(const Sections& sections);

}  // namespace tercet
