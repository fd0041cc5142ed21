// The operations beside attention, and what the library says about itself.
#include "api/call.h"

namespace tilewise {
namespace {

// Checks, finds a backend, and hands the problem to one of its operations.
template <class Checked, class Request>
tw_status run(const Request* request, const tw_execution* given,
              Status (*Backend::*operation)(const Checked&, const Resources&), char* message,
              std::size_t message_bytes) {
  const DefaultArithmetic arithmetic;
  Execution execution;
  Checked problem;
  const Backend* backend = nullptr;
  Status status = check(given, execution);
  if (status.ok()) status = check(request, problem);
  if (status.ok()) status = choose(execution.machine, backend);
  if (status.ok())
    status = (backend->*operation)(problem, {execution.parallel, execution.workspace});
  if (status.ok()) status = check_hook(execution.parallel);
  return answer(status, message, message_bytes);
}

}  // namespace
}  // namespace tilewise

using namespace tilewise;

tw_status tw_rotary(const tw_rotary_request* request, const tw_execution* execution, char* message,
                    size_t message_bytes) {
  return run(request, execution, &Backend::rotary, message, message_bytes);
}

tw_status tw_append(const tw_append_request* request, const tw_execution* execution, char* message,
                    size_t message_bytes) {
  return run(request, execution, &Backend::append, message, message_bytes);
}

tw_status tw_merge(const tw_merge_request* request, const tw_execution* execution, char* message,
                   size_t message_bytes) {
  return run(request, execution, &Backend::merge, message, message_bytes);
}

#define TW_TEXT_OF(x) #x
#define TW_DOTTED(major, minor, patch) TW_TEXT_OF(major) "." TW_TEXT_OF(minor) "." TW_TEXT_OF(patch)

const char* tw_version(void) {
  return TW_DOTTED(TW_VERSION_MAJOR, TW_VERSION_MINOR, TW_VERSION_PATCH);
}

const char* tw_backend_name(int32_t i) {
  return i >= 0 && i < kBackendCount ? kBackends[i]->name : nullptr;
}

const char* tw_dtype_name(int32_t dtype) {
  return tw_dtype_bytes(dtype) > 0 ? name_of(static_cast<DType>(dtype)) : nullptr;
}

size_t tw_dtype_bytes(int32_t dtype) {
  return static_cast<size_t>(core::bytes_of(static_cast<DType>(dtype)));
}
