// From a format as a value to one as a type.
#pragma once
#include <type_traits>

#include "core/types.h"

namespace tercet::cuda {

// Calls f(std::integral_constant<Format, format>), for one of those that rows are multiplied in here.
template <class F>
void with_format(Format format, F&& f) {
  switch (format) {
    case Format::float32:
      return f(std::integral_constant<Format, Format::float32>());
    case Format::bfloat16:
      return f(std::integral_constant<Format, Format::bfloat16>());
    case Format::int8:
      return f(std::integral_constant<Format, Format::int8>());
    case Format::int4:
      return f(std::integral_constant<Format, Format::int4>());
    case Format::int2:
      return f(std::integral_constant<Format, Format::int2>());
    case Format::int1:
      return f(std::integral_constant<Format, Format::int1>());
    case Format::float32_l2:
    case Format::product:
      return;  // refused before
  }
}

}  // namespace tercet::cuda
