#include "fuzz/answer.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace tilewise::fuzz {

void wrong(const char* format, ...) {
  std::fputs("broken promise: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputs("\n", stderr);
  std::abort();
}

tw_status answer_of(std::size_t message_bytes, const Ask& ask) {
  // On the heap and exactly that large, so that the address sanitizer sees a write beyond it.
  const auto message = std::make_unique<char[]>(message_bytes);
  if (message_bytes > 0) std::memset(message.get(), '#', message_bytes);
  const tw_status status = ask(message_bytes > 0 ? message.get() : nullptr, message_bytes);
  if (status < TW_OK || status > TW_FAILED) wrong("status %d is none", static_cast<int>(status));
  if (message_bytes == 0) return status;
  const std::size_t length = strnlen(message.get(), message_bytes);
  if (length == message_bytes) wrong("a message has no end");
  if (status == TW_OK && length > 0) wrong("success with a message: %s", message.get());
  if (status != TW_OK && message_bytes > 1 && length == 0) wrong("refused without a sentence");
  if (status == TW_FAILED) wrong("the machine failed: %s", message.get());
  return status;
}

}  // namespace tilewise::fuzz
