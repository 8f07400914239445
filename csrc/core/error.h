// The one exception of the native code. Messages say what was expected and what was received.
#pragma once
#include <cstddef>
#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace tercet {

enum class ErrorKind {
  value,   // a bad value or shape         -> ValueError
  type,    // the wrong kind of thing      -> TypeError
  lookup,  // an id that is not there      -> KeyError
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  ErrorKind kind() const { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorKind kind_;
  std::string message_;
};

template <class... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(kind, text.str());
}

template <class... Parts>
void require(bool ok, const Parts&... parts) {
  if (!ok) fail(ErrorKind::value, parts...);
}

}  // namespace tercet
