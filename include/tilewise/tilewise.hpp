// Tilewise's C++ face: the C face with defaults, optionals and strings, inline over it, so that no
// C++ type crosses the library's border. C++17 can read it; C++20's designated initialisers read
// best:
//
//     tilewise::Status status = tilewise::forward(
//         {.query = q, .key = k, .value = v, .output = o, .mask = tilewise::causal()});
//
// What the members mean stands in tilewise.h, at the structs of the same names.
#ifndef TILEWISE_TILEWISE_HPP
#define TILEWISE_TILEWISE_HPP

#include <memory>
#include <new>

#include "tilewise/lowering.hpp"

namespace tilewise {
inline namespace face {
namespace detail {

// Calls a function of the C face and keeps its sentence.
template <class Function, class... Arguments>
Status call(Function function, Arguments... arguments) {
  char message[1024];
  const tw_status code = function(arguments..., message, sizeof message);
  return {code, code == TW_OK ? "" : message};
}

template <class Function>
Status run(tw_operation operation, Function function, const Request& request,
           const Execution& execution) {
  Lowered form(request);
  tw_execution where = lowered(execution);
  std::unique_ptr<std::byte[]> own;
  if (!where.workspace) {
    Status status = call(tw_workspace, operation, form.for_operation(operation), &where,
                         &where.workspace_bytes);
    if (!status) return status;
    own.reset(new (std::nothrow) std::byte[where.workspace_bytes]);
    if (!own) return {TW_FAILED, "There is no memory for the workspace."};
    where.workspace = own.get();
  }
  return call(function, form.for_operation(operation), &where);
}

}  // namespace detail

inline Status forward(const Request& request, const Execution& execution = {}) {
  return detail::run(TW_FORWARD, tw_forward, request, execution);
}

inline Status backward(const Request& request, const Execution& execution = {}) {
  return detail::run(TW_BACKWARD, tw_backward, request, execution);
}

inline Status probabilities(const Request& request, const Execution& execution = {}) {
  return detail::run(TW_PROBABILITIES, tw_probabilities, request, execution);
}

inline Status workspace(tw_operation operation, const Request& request, std::size_t& bytes,
                        const Execution& execution = {}) {
  detail::Lowered form(request);
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_workspace, operation, form.for_operation(operation), &where, &bytes);
}

inline Status prepare(tw_operation operation, const Request& request,
                      const Execution& execution = {}) {
  detail::Lowered form(request);
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_prepare, operation, form.for_operation(operation), &where);
}

inline Status explain(tw_operation operation, const Request& request, std::string& text,
                      const Execution& execution = {}, tw_format format = TW_TEXT) {
  detail::Lowered form(request);
  const tw_execution where = detail::lowered(execution);
  // Each call times a run of its own, so the second may need a digit more than the first asked for.
  std::size_t needed = 4096;
  Status status;
  do {
    text.resize(needed + 64);
    status = detail::call(tw_explain, operation, form.for_operation(operation), &where, format,
                          &text[0], text.size(), &needed);
  } while (status.ok() && needed > text.size());
  text.resize(status.ok() ? needed - 1 : 0);
  return status;
}

inline Status rotary(const RotaryRequest& from, const Execution& execution = {}) {
  const tw_rotation rotation = detail::lowered(from.rotation);
  const tw_sequences sequences = detail::lowered(from.sequences);
  const tw_execution where = detail::lowered(execution);
  auto request = detail::sized<tw_rotary_request>();
  request.input = from.input;
  request.output = from.output;
  request.rotation = &rotation;
  request.sequences = &sequences;
  request.positions = from.positions;
  request.fixed = from.fixed;
  request.inverse = from.inverse;
  return detail::call(tw_rotary, &request, &where);
}

inline Status append(const AppendRequest& from, const Execution& execution = {}) {
  const tw_rotation rotation = detail::lowered(from.rotation.value_or(Rotation{}));
  const tw_sequences keys = detail::lowered(from.keys), queries = detail::lowered(from.queries);
  const tw_cache cache = detail::lowered(from.cache);
  const tw_execution where = detail::lowered(execution);
  auto request = detail::sized<tw_append_request>();
  request.key = from.key;
  request.value = from.value;
  request.key_cache = from.key_cache;
  request.value_cache = from.value_cache;
  request.lengths = from.lengths;
  request.keys = &keys;
  request.cache = &cache;
  request.rotation = from.rotation ? &rotation : nullptr;
  request.query = from.query;
  request.rotated_query = from.rotated_query;
  request.queries = &queries;
  request.fixed_query = from.fixed_query;
  return detail::call(tw_append, &request, &where);
}

inline Status merge(const MergeRequest& from, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  auto request = detail::sized<tw_merge_request>();
  request.outputs = from.outputs;
  request.lses = from.lses;
  request.parts = from.parts;
  request.sinks = from.sinks;
  request.output = from.output;
  request.lse = from.lse;
  return detail::call(tw_merge, &request, &where);
}

}  // namespace face
}  // namespace tilewise

#endif
