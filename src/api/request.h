// Checks, plans and runs a request of any kind but attention, which also takes an operation.
#pragma once

#include "api/call.h"

namespace tilewise {

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

}  // namespace tilewise
