#include "problem/status.h"

#include <cstdarg>
#include <cstdio>

namespace tilewise {
namespace {

Status write(tw_status code, const char* format, va_list arguments) {
  Status status;
  status.code = code;
  std::vsnprintf(status.sentence, sizeof status.sentence, format, arguments);
  return status;
}

}  // namespace

Status invalid(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Status status = write(TW_INVALID, format, arguments);
  va_end(arguments);
  return status;
}

Status unsupported(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Status status = write(TW_UNSUPPORTED, format, arguments);
  va_end(arguments);
  return status;
}

Status failed(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Status status = write(TW_FAILED, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace tilewise
