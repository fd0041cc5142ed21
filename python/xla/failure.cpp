#include "python/xla/failure.h"

#include <cstdio>

namespace tilewise::xla {
namespace {

int code_of(tw_status status) {
  if (status == TW_INVALID) return ffi::kInvalidArgument;
  return status == TW_UNSUPPORTED ? ffi::kUnimplemented : ffi::kInternal;
}

}  // namespace

ffi::Error* fail(const ffi::CallFrame& frame, int code, const char* message) {
  ffi::CreateError error = {sizeof error, nullptr, message, code};
  return frame.api->create_error(&error);
}

ffi::Error* fail(const ffi::CallFrame& frame, tw_status status, const char* message) {
  return fail(frame, code_of(status), message);
}

ffi::Error* fail_with(const ffi::CallFrame& frame, ffi::Error* error, const char* sentence) {
  constexpr std::size_t kBytes = 1024;
  char message[kBytes];
  ffi::AskError asked = {sizeof asked, nullptr, error, nullptr, 0};
  frame.api->ask_error(&asked);
  std::snprintf(message, kBytes, "%s XLA says: %s", sentence,
                asked.message != nullptr ? asked.message : "nothing.");
  forget(frame, error);
  return fail(frame, ffi::kResourceExhausted, message);
}

void forget(const ffi::CallFrame& frame, ffi::Error* error) {
  if (error == nullptr) return;
  ffi::DestroyError destroy = {sizeof destroy, nullptr, error};
  frame.api->destroy_error(&destroy);
}

}  // namespace tilewise::xla
