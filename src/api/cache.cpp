// The operations beside attention, and what the library says about itself.
#include "api/call.h"

namespace tilewise {
namespace {

template <class Checked, class Request>
Status prepare(const Request* request, const tw_execution* given, bool is_given,
               Prepared<Checked>& prepared) {
  const auto read = [&](Call& call, Checked& problem) { return check(request, call, problem); };
  return prepare(given, is_given, read, prepared);
}

template <class Checked, class Request>
Status run(const Request* request, const tw_execution* given) {
  const DefaultArithmetic arithmetic;
  Prepared<Checked> call;
  TW_TRY(prepare(request, given, true, call));
  return run(call);
}

template <class Checked, class Request>
Status make_ready(const Request* request, const tw_execution* given) {
  const DefaultArithmetic arithmetic;
  Prepared<Checked> call;
  TW_TRY(prepare(request, given, false, call));
  return make_ready(call);
}

template <class Checked, class Request>
Status ask_workspace(const Request* request, const tw_execution* given, size_t* bytes) {
  if (!bytes) return invalid("bytes is null: give a place for the answer.");
  const DefaultArithmetic arithmetic;
  Prepared<Checked> call;
  TW_TRY(prepare(request, given, false, call));
  *bytes = static_cast<size_t>(call.plan.workspace_bytes);
  return {};
}

}  // namespace
}  // namespace tilewise

using namespace tilewise;

tw_status tw_rotary(const tw_rotary_request* request, const tw_execution* execution, char* message,
                    size_t message_bytes) {
  return answer(run<RotaryProblem>(request, execution), message, message_bytes);
}

tw_status tw_prepare_rotary(const tw_rotary_request* request, const tw_execution* execution,
                            char* message, size_t message_bytes) {
  return answer(make_ready<RotaryProblem>(request, execution), message, message_bytes);
}

tw_status tw_append(const tw_append_request* request, const tw_execution* execution, char* message,
                    size_t message_bytes) {
  return answer(run<AppendProblem>(request, execution), message, message_bytes);
}

tw_status tw_prepare_append(const tw_append_request* request, const tw_execution* execution,
                            char* message, size_t message_bytes) {
  return answer(make_ready<AppendProblem>(request, execution), message, message_bytes);
}

tw_status tw_merge(const tw_merge_request* request, const tw_execution* execution, char* message,
                   size_t message_bytes) {
  return answer(run<MergeProblem>(request, execution), message, message_bytes);
}

tw_status tw_prepare_merge(const tw_merge_request* request, const tw_execution* execution,
                           char* message, size_t message_bytes) {
  return answer(make_ready<MergeProblem>(request, execution), message, message_bytes);
}

tw_status tw_workspace_rotary(const tw_rotary_request* request, const tw_execution* execution,
                              size_t* bytes, char* message, size_t message_bytes) {
  return answer(ask_workspace<RotaryProblem>(request, execution, bytes), message, message_bytes);
}

tw_status tw_workspace_append(const tw_append_request* request, const tw_execution* execution,
                              size_t* bytes, char* message, size_t message_bytes) {
  return answer(ask_workspace<AppendProblem>(request, execution, bytes), message, message_bytes);
}

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
