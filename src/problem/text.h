// Text into the caller's buffer, as snprintf does it: cut when it does not fit, counted all the
// same.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdio>

namespace tilewise {

class Text {
 public:
  Text(char* buffer, std::size_t bytes) : buffer_(buffer), bytes_(buffer ? bytes : 0) {
    if (bytes_ > 0) buffer_[0] = 0;
  }

  void add(const char* format, ...) __attribute__((format(printf, 2, 3))) {
    va_list arguments;
    va_start(arguments, format);
    const std::size_t room = used_ < bytes_ ? bytes_ - used_ : 0;
    const int length = std::vsnprintf(room ? buffer_ + used_ : nullptr, room, format, arguments);
    va_end(arguments);
    if (length > 0) used_ += static_cast<std::size_t>(length);
  }

  // As a string of JSON, with its quotes.
  void add_quoted(const char* text) {
    add("\"");
    for (; *text; ++text) {
      const auto byte = static_cast<unsigned char>(*text);
      if (byte == '"' || byte == '\\')
        add("\\%c", *text);
      else if (byte < 0x20)
        add("\\u%04x", byte);
      else
        add("%c", *text);
    }
    add("\"");
  }

  // All of it, with the final 0.
  std::size_t needed() const { return used_ + 1; }

 private:
  char* buffer_;
  std::size_t bytes_;
  std::size_t used_ = 0;
};

}  // namespace tilewise
