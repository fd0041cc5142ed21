// Errors of XLA. An error that we make and return belongs to XLA; one that XLA returned to us is
// ours to delete.
#pragma once
#include <tilewise/tilewise.h>

#include "python/xla/ffi.h"

namespace tilewise::xla {

ffi::Error* fail(const ffi::CallFrame& frame, int code, const char* message);
ffi::Error* fail(const ffi::CallFrame& frame, tw_status status, const char* message);

// An error with `sentence` and XLA's own message. Deletes `error`.
ffi::Error* fail_with(const ffi::CallFrame& frame, ffi::Error* error, const char* sentence);

void forget(const ffi::CallFrame& frame, ffi::Error* error);

}  // namespace tilewise::xla
