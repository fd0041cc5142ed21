// Converts the C++ face's types to the C structs that they stand for.
#ifndef TILEWISE_LOWERING_HPP
#define TILEWISE_LOWERING_HPP

#include "tilewise/types.hpp"

namespace tilewise {
inline namespace face {
namespace detail {

template <class Struct>
Struct sized() {
  Struct result{};
  result.size = sizeof result;
  return result;
}

inline tw_sequences lowered(const Sequences& from) {
  auto to = sized<tw_sequences>();
  to.offsets = from.offsets;
  to.used = from.used;
  to.start = from.start;
  to.max_length = from.max_length;
  return to;
}

inline tw_cache lowered(const Cache& from) {
  auto to = sized<tw_cache>();
  to.page_table = from.page_table;
  to.batch_index = from.batch_index;
  return to;
}

inline tw_mask lowered(const Mask& from) {
  auto to = sized<tw_mask>();
  to.has_left = from.left.has_value();
  to.left = from.left.value_or(0);
  to.has_right = from.right.has_value();
  to.right = from.right.value_or(0);
  to.diagonal = from.diagonal;
  to.shift = from.shift;
  to.chunk = from.chunk;
  to.visible = from.visible;
  to.blocks = from.blocks;
  to.block_query = from.block_query;
  to.block_key = from.block_key;
  return to;
}

inline tw_scores lowered(const Scores& from) {
  auto to = sized<tw_scores>();
  to.has_scale = from.scale.has_value();
  to.scale = from.scale.value_or(0);
  to.softcap = from.softcap;
  to.slopes = from.slopes;
  to.bias = from.bias;
  to.sinks = from.sinks;
  return to;
}

inline tw_dropout lowered(const Dropout& from) {
  auto to = sized<tw_dropout>();
  to.probability = from.probability;
  to.seed = from.seed;
  to.offset = from.offset;
  to.state = from.state;
  for (int i = 0; i < 4; ++i) to.base[i] = from.base[i];
  return to;
}

inline tw_scaling lowered(const Scaling& from) {
  auto to = sized<tw_scaling>();
  to.query = from.query;
  to.key = from.key;
  to.value = from.value;
  to.output_gradient = from.output_gradient;
  return to;
}

inline tw_gradients lowered(const Gradients& from) {
  auto to = sized<tw_gradients>();
  to.output = from.output;
  to.lse = from.lse;
  to.query = from.query;
  to.key = from.key;
  to.value = from.value;
  to.bias = from.bias;
  to.slopes = from.slopes;
  to.sinks = from.sinks;
  return to;
}

inline bool any_given(const Gradients& g) {
  for (const Tensor* tensor :
       {&g.output, &g.lse, &g.query, &g.key, &g.value, &g.bias, &g.slopes, &g.sinks})
    if (tensor->rank != 0) return true;
  return false;
}

inline tw_rotation lowered(const Rotation& from) {
  auto to = sized<tw_rotation>();
  to.cosine = from.cosine;
  to.sine = from.sine;
  to.interleaved = from.interleaved;
  return to;
}

inline tw_execution lowered(const Execution& from) {
  auto to = sized<tw_execution>();
  to.device = from.device;
  to.stream = from.stream;
  to.workspace = from.workspace;
  to.workspace_bytes = from.workspace_bytes;
  to.threads = from.threads;
  to.parallel = from.parallel;
  to.error = from.error;
  to.backend = from.backend;
  to.device_tables = from.device_tables;
  return to;
}

// The C form of a Request. Its structs point at each other, so it is never moved.
class Lowered {
 public:
  explicit Lowered(const Request& from)
      : mask_(lowered(from.mask)),
        scores_(lowered(from.scores)),
        dropout_(lowered(from.dropout)),
        queries_(lowered(from.queries)),
        keys_(lowered(from.keys)),
        cache_(lowered(from.cache)),
        scaling_(lowered(from.scaling)),
        gradients_(lowered(from.gradients)),
        has_gradients_(any_given(from.gradients)) {
    options_ = sized<tw_options>();
    options_.mask = &mask_;
    options_.scores = &scores_;
    options_.dropout = &dropout_;
    options_.queries = &queries_;
    options_.keys = &keys_;
    options_.cache = &cache_;
    options_.scaling = &scaling_;
    options_.deterministic = from.deterministic;
    request_ = sized<tw_request>();
    request_.query = from.query;
    request_.key = from.key;
    request_.value = from.value;
    request_.output = from.output;
    request_.lse = from.lse;
    request_.options = &options_;
  }
  Lowered(const Lowered&) = delete;
  Lowered& operator=(const Lowered&) = delete;

  // The C form for one operation. Backward always gets the gradients; another operation gets them
  // only if some are given, and the C face then refuses the call.
  const tw_request* for_operation(tw_operation operation) {
    request_.gradients = operation == TW_BACKWARD || has_gradients_ ? &gradients_ : nullptr;
    return &request_;
  }

 private:
  tw_mask mask_;
  tw_scores scores_;
  tw_dropout dropout_;
  tw_sequences queries_, keys_;
  tw_cache cache_;
  tw_scaling scaling_;
  tw_gradients gradients_;
  bool has_gradients_;
  tw_options options_;
  tw_request request_;
};

class LoweredRotary {
 public:
  explicit LoweredRotary(const RotaryRequest& from)
      : rotation_(lowered(from.rotation)), sequences_(lowered(from.sequences)) {
    request_ = sized<tw_rotary_request>();
    request_.input = from.input;
    request_.output = from.output;
    request_.rotation = &rotation_;
    request_.sequences = &sequences_;
    request_.positions = from.positions;
    request_.fixed = from.fixed;
    request_.inverse = from.inverse;
  }
  LoweredRotary(const LoweredRotary&) = delete;
  LoweredRotary& operator=(const LoweredRotary&) = delete;

  const tw_rotary_request* get() const { return &request_; }

 private:
  tw_rotation rotation_;
  tw_sequences sequences_;
  tw_rotary_request request_;
};

class LoweredAppend {
 public:
  explicit LoweredAppend(const AppendRequest& from)
      : rotation_(lowered(from.rotation.value_or(Rotation{}))),
        keys_(lowered(from.keys)),
        queries_(lowered(from.queries)),
        cache_(lowered(from.cache)) {
    request_ = sized<tw_append_request>();
    request_.key = from.key;
    request_.value = from.value;
    request_.key_cache = from.key_cache;
    request_.value_cache = from.value_cache;
    request_.lengths = from.lengths;
    request_.keys = &keys_;
    request_.cache = &cache_;
    request_.rotation = from.rotation ? &rotation_ : nullptr;
    request_.query = from.query;
    request_.rotated_query = from.rotated_query;
    request_.queries = turns_queries(from) ? &queries_ : nullptr;
    request_.fixed_query = from.fixed_query;
  }
  LoweredAppend(const LoweredAppend&) = delete;
  LoweredAppend& operator=(const LoweredAppend&) = delete;

  const tw_append_request* get() const { return &request_; }

 private:
  // Whether the request has queries or says where they lie. The C face refuses the second without
  // the first.
  static bool turns_queries(const AppendRequest& from) {
    const Sequences& lie = from.queries;
    for (const Tensor* tensor :
         {&from.query, &from.rotated_query, &lie.offsets, &lie.used, &lie.start})
      if (tensor->rank != 0) return true;
    return lie.max_length != 0;
  }

  tw_rotation rotation_;
  tw_sequences keys_, queries_;
  tw_cache cache_;
  tw_append_request request_;
};

inline tw_merge_request lowered(const MergeRequest& from) {
  auto to = sized<tw_merge_request>();
  to.outputs = from.outputs;
  to.lses = from.lses;
  to.parts = from.parts;
  to.sinks = from.sinks;
  to.output = from.output;
  to.lse = from.lse;
  return to;
}

inline tw_kernel_choice lowered(const KernelChoice& from) {
  tw_kernel_choice to{};
  to.size = sizeof to;
  if (!from.names.empty()) to.names = from.names.c_str();
  if (!from.architectures.empty()) to.architectures = from.architectures.c_str();
  to.driver_version = from.driver_version;
  return to;
}

}  // namespace detail
}  // namespace face
}  // namespace tilewise

#endif
