// Attention's functions of the C face: each checks the request into a Problem and makes a Plan,
// then runs the Plan or reports what it says.
#include "api/call.h"
#include "plan/explain.h"
#include "problem/structs.h"

namespace tilewise {
namespace {

using Attention = Prepared<Problem>;

Status prepare(tw_operation operation, const tw_request* request, const tw_execution* given,
               bool is_given, Attention& attention) {
  const auto read = [&](Call& call, Problem& problem) {
    return check(operation, request, call, problem);
  };
  return prepare(given, is_given, read, attention);
}

Status run(tw_operation operation, const tw_request* request, const tw_execution* given) {
  const DefaultArithmetic arithmetic;
  Attention call;
  TW_TRY(prepare(operation, request, given, true, call));
  return run(call);
}

// The caller's buffer for an explanation.
struct Explanation {
  char* text;
  std::size_t bytes;
  std::size_t* needed;
};

Status explain(tw_operation operation, const tw_request* request, const tw_execution* given,
               tw_format format, const Explanation& explanation) {
  if (format != TW_TEXT && format != TW_JSON)
    return invalid("The format is %d: give TW_TEXT or TW_JSON.", static_cast<int>(format));
  const DefaultArithmetic arithmetic;
  Attention call;
  TW_TRY(prepare(operation, request, given, false, call));
  const Backend& backend = *call.plan.backend;
  const Work work =
      work_of(call.problem, call.plan.tile, backend.fast_bytes(call.execution.machine));
  const double seconds = backend.predict(call.problem, call.plan, work, call.execution.parallel);
  TW_TRY(check_hook(call.execution.parallel));
  const auto write = format == TW_JSON ? explain_json : explain_text;
  // Made only when nothing can be refused any more, because a Text clears its buffer.
  Text text(explanation.text, explanation.bytes);
  write(call.problem, call.plan, work, seconds, text);
  if (explanation.needed) *explanation.needed = text.needed();
  return {};
}

}  // namespace
}  // namespace tilewise

using namespace tilewise;

tw_status tw_forward(const tw_request* request, const tw_execution* execution, char* message,
                     size_t message_bytes) {
  return answer(run(TW_FORWARD, request, execution), message, message_bytes);
}

tw_status tw_backward(const tw_request* request, const tw_execution* execution, char* message,
                      size_t message_bytes) {
  return answer(run(TW_BACKWARD, request, execution), message, message_bytes);
}

tw_status tw_probabilities(const tw_request* request, const tw_execution* execution, char* message,
                           size_t message_bytes) {
  return answer(run(TW_PROBABILITIES, request, execution), message, message_bytes);
}

// The ABI fixes the parameters.
// NOLINTNEXTLINE(readability-function-size)
tw_status tw_workspace(tw_operation operation, const tw_request* request,
                       const tw_execution* execution, size_t* bytes, char* message,
                       size_t message_bytes) {
  const DefaultArithmetic arithmetic;
  Attention call;
  Status status = bytes ? Status{} : invalid("bytes is null: give a place for the answer.");
  if (status.ok()) status = prepare(operation, request, execution, false, call);
  if (status.ok()) *bytes = static_cast<size_t>(call.plan.workspace_bytes);
  return answer(status, message, message_bytes);
}

tw_status tw_prepare(tw_operation operation, const tw_request* request,
                     const tw_execution* execution, char* message, size_t message_bytes) {
  const DefaultArithmetic arithmetic;
  Attention call;
  Status status = prepare(operation, request, execution, false, call);
  if (status.ok()) status = make_ready(call);
  return answer(status, message, message_bytes);
}

// NOLINTNEXTLINE(readability-function-size)
tw_status tw_explain(tw_operation operation, const tw_request* request,
                     const tw_execution* execution, tw_format format, char* text, size_t text_bytes,
                     size_t* needed, char* message, size_t message_bytes) {
  const Status status = explain(operation, request, execution, format, {text, text_bytes, needed});
  return answer(status, message, message_bytes);
}
