// Fills tilewise.h's structs and checks what the library promises about its workspace.
#include "conformance/call.h"

#include <algorithm>

#include "conformance/device.h"

namespace tilewise::conformance {
namespace {

const char* only_backend = nullptr;

// An embedder's parallel_for on one thread: it runs tasks in reverse, and their worker numbers take
// turns.
void run_backwards(void* host, std::int64_t tasks, tw_task task, void* argument) {
  const auto workers = *static_cast<const std::int32_t*>(host);
  for (std::int64_t t = tasks; t-- > 0;) {
    task(argument, t, static_cast<std::int32_t>(t % workers));
  }
}

tw_diagonal diagonal_of(oracle::Diagonal diagonal) {
  switch (diagonal) {
    case oracle::Diagonal::kTopLeft:
      return TW_TOP_LEFT;
    case oracle::Diagonal::kShifted:
      return TW_SHIFTED;
    default:
      return TW_BOTTOM_RIGHT;
  }
}

tw_sequences sequences_of(const SideCase& side, const SideFields& fields) {
  tw_sequences sequences{};
  sequences.size = sizeof sequences;
  sequences.offsets = fields.offsets.view();
  sequences.used = fields.used.view();
  sequences.start = fields.start.view();
  sequences.max_length = side.packed.max_length;
  // On a device the library cannot read the lengths before the call, so it is given a bound.
  if (calls_run_on_device() && side.packed.max_length == 0 && side.storage == Storage::kPacked) {
    for (std::int64_t b = 0; b + 1 < fields.offsets.view().shape[0]; ++b) {
      const double rows = fields.offsets.read({b + 1}) - fields.offsets.read({b});
      sequences.max_length = std::max(sequences.max_length, static_cast<std::int64_t>(rows));
    }
    sequences.max_length = std::max<std::int64_t>(sequences.max_length, 1);
  }
  return sequences;
}

bool is_plain(const SideCase& side) {
  return side.storage != Storage::kPacked && !side.has_used && !side.has_start;
}

tw_mask mask_of(const MaskCase& drawn, const ScoreFields& fields) {
  tw_mask mask{};
  mask.size = sizeof mask;
  mask.has_left = drawn.band.left ? 1 : 0;
  mask.has_right = drawn.band.right ? 1 : 0;
  mask.left = drawn.band.left.value_or(0);
  mask.right = drawn.band.right.value_or(0);
  mask.diagonal = diagonal_of(drawn.band.diagonal);
  mask.shift = drawn.band.shift;
  mask.chunk = drawn.band.chunk;
  mask.visible = fields.visible.view();
  mask.blocks = fields.blocks.view();
  if (!drawn.has_blocks) return mask;
  mask.block_query = static_cast<std::int32_t>(drawn.block_query);
  mask.block_key = static_cast<std::int32_t>(drawn.block_key);
  return mask;
}

}  // namespace

Request::Request(const Case& drawn, const Setup& setup) {
  request.size = sizeof request;
  request.query = setup.query.view();
  request.key = setup.key.view();
  request.value = setup.value.view();
  request.lse = setup.lse.view();
  output_ = setup.output.view();
  probabilities_ = setup.probabilities.view();
  request.options = &options;
  set_options(drawn, setup);
  set_scores(drawn, setup);
  set_gradients(setup);
  set_execution(drawn);
}

void Request::set_options(const Case& drawn, const Setup& setup) {
  options.size = sizeof options;
  options.deterministic = drawn.gradients.deterministic ? 1 : 0;
  mask = mask_of(drawn.mask, setup.scores);
  options.mask = &mask;
  queries = sequences_of(drawn.queries, setup.queries);
  keys = sequences_of(drawn.keys, setup.keys);
  options.queries = is_plain(drawn.queries) ? nullptr : &queries;
  options.keys = is_plain(drawn.keys) ? nullptr : &keys;
  if (!drawn.keys.is_cache()) return;
  cache.size = sizeof cache;
  cache.page_table = setup.keys.page_table.view();
  cache.batch_index = setup.keys.batch_index.view();
  options.cache = &cache;
}

void Request::set_scores(const Case& drawn, const Setup& setup) {
  scores.size = sizeof scores;
  scores.has_scale = drawn.scores.has_scale ? 1 : 0;
  scores.scale = drawn.scores.has_scale ? drawn.scores.scale : 0;
  scores.softcap = drawn.scores.softcap;
  scores.slopes = setup.scores.slopes.view();
  scores.bias = setup.scores.bias.view();
  scores.sinks = setup.scores.sinks.view();
  options.scores = &scores;
  if (drawn.dropout.probability > 0) {
    dropout.size = sizeof dropout;
    dropout.probability = drawn.dropout.probability;
    dropout.seed = drawn.dropout.by_state ? 0 : drawn.dropout.seed;
    dropout.offset = drawn.dropout.by_state ? 0 : drawn.dropout.offset;
    dropout.state = drawn.dropout.by_state
                        ? reinterpret_cast<const std::uint64_t*>(setup.state.data())
                        : nullptr;
    std::copy(drawn.dropout.base.begin(), drawn.dropout.base.end(), dropout.base);
    options.dropout = &dropout;
  }
  if (!drawn.dtypes.has_scaling) return;
  scaling.size = sizeof scaling;
  scaling.query = setup.scaling.query.view();
  scaling.key = setup.scaling.key.view();
  scaling.value = setup.scaling.value.view();
  options.scaling = &scaling;
}

void Request::set_gradients(const Setup& setup) {
  gradients.size = sizeof gradients;
  gradients.output = setup.gradients.output.view();
  gradients.lse = setup.gradients.lse.view();
  gradients.query = setup.gradients.query.view();
  gradients.key = setup.gradients.key.view();
  gradients.value = setup.gradients.value.view();
  gradients.bias = setup.gradients.bias.view();
  gradients.slopes = setup.gradients.slopes.view();
  gradients.sinks = setup.gradients.sinks.view();
  output_gradient_factor_ = setup.scaling.output_gradient.view();
}

void Request::set_execution(const Case& drawn) {
  execution = where_calls_run();
  execution.threads = drawn.run.threads;
  execution.backend = only_backend;
  if (!drawn.run.by_host) return;
  parallel_.size = sizeof parallel_;
  parallel_.parallel_for = run_backwards;
  parallel_.host = &host_workers_;
  parallel_.workers = host_workers_;
  execution.parallel = &parallel_;
}

void use_backend(const char* name) {
  only_backend = name;
}

void Request::select(tw_operation operation) {
  request.output = operation == TW_PROBABILITIES ? probabilities_ : output_;
  request.gradients = operation == TW_BACKWARD ? &gradients : nullptr;
  scaling.output_gradient = operation == TW_BACKWARD ? output_gradient_factor_ : tw_tensor{};
}

void Request::shorten_output(std::int64_t rows) {
  output_.shape[1] -= rows;
  request.lse.shape[2] -= rows;
}

Outcome Request::workspace(tw_operation operation, std::size_t& bytes) {
  select(operation);
  char message[1024] = "";
  const tw_status status =
      tw_workspace(operation, &request, &execution, &bytes, message, sizeof message);
  return {status, message};
}

Outcome Request::call(tw_operation operation, std::size_t workspace_bytes) {
  select(operation);
  const bool is_odd = workspace_bytes % 128 >= 64;  // decides which end lies at its guard page
  workspace_ = Guarded(workspace_bytes, is_odd ? Guarded::Flush::kBegin : Guarded::Flush::kEnd);
  // All ones: a NaN in every float type.
  std::fill_n(workspace_.data(), workspace_bytes, 0xFF);
  execution.workspace = workspace_.data();
  execution.workspace_bytes = workspace_bytes;
  char message[1024] = "";
  const auto function = operation == TW_FORWARD    ? tw_forward
                        : operation == TW_BACKWARD ? tw_backward
                                                   : tw_probabilities;
  const tw_status status = function(&request, &execution, message, sizeof message);
  wait_for_device();
  if (!workspace_.is_intact()) return {TW_FAILED, "memory beside the workspace was written"};
  return {status, message};
}

Outcome Request::workspace_without_data(tw_operation operation, std::size_t& bytes) {
  const tw_request kept = request;
  const tw_tensor kept_output = output_, kept_probabilities = probabilities_;
  for (tw_tensor* each :
       {&request.query, &request.key, &request.value, &request.lse, &output_, &probabilities_}) {
    each->data = nullptr;
  }
  const Outcome outcome = workspace(operation, bytes);
  request = kept;
  output_ = kept_output;
  probabilities_ = kept_probabilities;
  return outcome;
}

Outcome Request::run(tw_operation operation) {
  std::size_t bytes = 0, bytes_without_data = 0;
  Outcome asked = workspace(operation, bytes);
  if (asked.status == TW_OK) asked = workspace_without_data(operation, bytes_without_data);
  if (asked.status != TW_OK) return {asked.status, "tw_workspace: " + asked.message};
  if (bytes != bytes_without_data) {
    return {TW_FAILED, "tw_workspace says " + std::to_string(bytes) + " bytes with data and " +
                           std::to_string(bytes_without_data) + " without"};
  }
  if (bytes > 0) {
    const Outcome short_call = call(operation, bytes - 1);
    if (short_call.status != TW_INVALID || short_call.message.empty()) {
      return {TW_FAILED, "one byte less than the " + std::to_string(bytes) +
                             " of tw_workspace was not refused with a sentence"};
    }
  }
  return call(operation, bytes);
}

}  // namespace tilewise::conformance
