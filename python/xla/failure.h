// Errors as XLA has them: one that is made belongs to XLA once it is returned, one that XLA
// answered with to whoever asked.
#pragma once
#include <tilewise/tilewise.h>

#include "python/xla/ffi.h"

namespace tilewise::xla {

ffi::Error* fail(const ffi::CallFrame& frame, int code, const char* message);
ffi::Error* fail(const ffi::CallFrame& frame, tw_status status, const char* message);

// What XLA answered, behind a sentence of what was asked for. Takes the error.
ffi::Error* fail_with(const ffi::CallFrame& frame, ffi::Error* error, const char* sentence);

void forget(const ffi::CallFrame& frame, ffi::Error* error);

}  // namespace tilewise::xla
