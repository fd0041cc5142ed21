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

  // As a string of JSON, with its quotes. JSON is UTF-8, and paths may be anything: a byte that is
  // not becomes the mark for that.
  void add_quoted(const char* text) {
    add("\"");
    while (*text) {
      const auto byte = static_cast<unsigned char>(*text);
      const int length = utf8_length(text);
      if (byte == '"' || byte == '\\')
        add("\\%c", *text);
      else if (byte < 0x20)
        add("\\u%04x", byte);
      else if (length == 0)
        add("\\ufffd");
      else
        add("%.*s", length, text);
      text += length == 0 ? 1 : length;
    }
    add("\"");
  }

  // All of it, with the final 0.
  std::size_t needed() const { return used_ + 1; }

 private:
  // Bytes of the character that begins there; 0 where none does.
  static int utf8_length(const char* text) {
    const auto first = static_cast<unsigned char>(*text);
    if (first < 0x80) return 1;
    const int length = first >= 0xf0 && first < 0xf5   ? 4
                       : first >= 0xe0 && first < 0xf0 ? 3
                       : first >= 0xc2 && first < 0xe0 ? 2
                                                       : 0;
    for (int n = 1; n < length; ++n)
      if ((static_cast<unsigned char>(text[n]) & 0xc0) != 0x80) return 0;
    const auto second = static_cast<unsigned char>(length > 0 ? text[1] : 0);
    const bool is_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    const bool is_beyond = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
    return is_long || is_beyond ? 0 : length;
  }

  char* buffer_;
  std::size_t bytes_;
  std::size_t used_ = 0;
};

}  // namespace tilewise
