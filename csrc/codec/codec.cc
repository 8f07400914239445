#include "codec/codec.h"

#include "core/error.h"

namespace tercet {

std::unique_ptr<Codec> make_codec(const std::string& name) {
  if (name == "float32") return make_float32_codec();
  if (name == "bfloat16") return make_bfloat16_codec();
  if (name == "int8") return make_int8_codec();
  fail(ErrorKind::value, "codec: expected \"float32\", \"bfloat16\" or \"int8\", got \"", name, "\"");
}

}  // namespace tercet
