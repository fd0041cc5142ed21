// Writes text into the caller's buffer as snprintf does: cuts what does not fit, and counts all.
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

  // Adds a JSON string with its quotes. JSON is UTF-8 and paths may hold anything, so a byte that
  // is not UTF-8 becomes U+FFFD.
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

  // Bytes of the whole text, with the final 0.
  std::size_t needed() const { return used_ + 1; }

 private:
  // Bytes of the UTF-8 character at `text`; 0 if there is none. The limits of the second byte
  // exclude overlong forms, surrogates and code points beyond Unicode.
  static int utf8_length(const char* text) {
    constexpr struct {
      unsigned char first, last, lowest, highest;
      int length;
    } kForms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                  {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                  {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                  {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    const auto byte = [text](int n) { return static_cast<unsigned char>(text[n]); };
    if (byte(0) < 0x80) return 1;
    for (const auto& form : kForms) {
      if (byte(0) < form.first || byte(0) > form.last) continue;
      if (byte(1) < form.lowest || byte(1) > form.highest) return 0;
      for (int n = 2; n < form.length; ++n)
        if ((byte(n) & 0xc0) != 0x80) return 0;
      return form.length;
    }
    return 0;
  }

  char* buffer_;
  std::size_t bytes_;
  std::size_t used_ = 0;
};

}  // namespace tilewise
