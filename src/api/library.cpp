// What the library says about itself: its version, its backends, its types.
#include "api/call.h"

using namespace tilewise;

#define TW_TEXT_OF(x) #x
#define TW_DOTTED(major, minor, patch) TW_TEXT_OF(major) "." TW_TEXT_OF(minor) "." TW_TEXT_OF(patch)

const char* tw_version(void) {
  return TW_DOTTED(TW_VERSION_MAJOR, TW_VERSION_MINOR, TW_VERSION_PATCH);
}

const char* tw_backend_name(int32_t i) {
  const auto all = backends();
  return i >= 0 && i < static_cast<int32_t>(all.size()) ? all[static_cast<std::size_t>(i)]->name
                                                        : nullptr;
}

const char* tw_dtype_name(int32_t dtype) {
  return tw_dtype_bytes(dtype) > 0 ? name_of(static_cast<DType>(dtype)) : nullptr;
}

size_t tw_dtype_bytes(int32_t dtype) {
  return static_cast<size_t>(core::bytes_of(static_cast<DType>(dtype)));
}
