#include "backends/cuda/arguments.h"

namespace tilewise::cuda {

namespace {

Axes axes_of(const tilewise::Axes& axes) {
  return {axes.batch, axes.head, axes.row, axes.column};
}

}  // namespace

Tensor tensor_of(const View& view) {
  return {reinterpret_cast<uint8*>(view.data), view.dtype,
          static_cast<int32>(core::bytes_of(view.dtype)), axes_of(view.stride)};
}

Side side_of(const tilewise::Side& side, const View& tensor) {
  return {.offsets = tensor_of(side.offsets),
          .used = tensor_of(side.used),
          .start = tensor_of(side.start),
          .batch_index = tensor_of(side.batch_index),
          .page_table = tensor_of(side.page_table),
          .page_size = side.page_size,
          .rows = side.rows,
          .longest = side.longest,
          .extent = {tensor.size.batch, tensor.size.row}};
}

namespace {

Shape shape_of(const tilewise::Shape& shape) {
  return {.batch = shape.batch,
          .queries = shape.queries,
          .keys = shape.keys,
          .heads = shape.heads,
          .key_heads = shape.key_heads,
          .dim = shape.dim,
          .value_dim = shape.value_dim};
}

Diagonal diagonal_of(tw_diagonal diagonal) {
  switch (diagonal) {
    case TW_TOP_LEFT:
      return Diagonal::kTopLeft;
    case TW_SHIFTED:
      return Diagonal::kShifted;
    case TW_BOTTOM_RIGHT:
      break;
  }
  return Diagonal::kBottomRight;
}

Mask mask_of(const tilewise::Mask& mask) {
  return {.left = mask.left,
          .right = mask.right,
          .diagonal = diagonal_of(mask.diagonal),
          .shift = mask.shift,
          .chunk = mask.chunk,
          .visible = tensor_of(mask.visible),
          .blocks = tensor_of(mask.blocks),
          .block_query = mask.block_query,
          .block_key = mask.block_key};
}

Dropout dropout_of(const tilewise::Dropout& dropout) {
  const int64* base = dropout.base;
  return {.decide = dropout.decide,
          .base = {base[0], base[1], base[2], base[3]},
          .state = reinterpret_cast<const core::uint64*>(dropout.state.data)};
}

Rotation rotation_of(const tilewise::Rotation& rotation) {
  return {.cosine = tensor_of(rotation.cosine),
          .sine = tensor_of(rotation.sine),
          .pairs = rotation ? rotation.pairs() : 0,
          .positions = rotation.cosine.size.row,
          .interleaved = rotation.interleaved};
}

}  // namespace

Attention attention_of(const Problem& p, core::uint32* error) {
  return {.shape = shape_of(p.shape),
          .queries = side_of(p.queries, p.query),
          .keys = side_of(p.keys, p.key),
          .query = tensor_of(p.query),
          .key = tensor_of(p.key),
          .value = tensor_of(p.value),
          .output = tensor_of(p.output),
          .lse = tensor_of(p.lse),
          .mask = mask_of(p.mask),
          .scores = {p.scores.scale, p.scores.softcap, tensor_of(p.scores.slopes),
                     tensor_of(p.scores.bias), tensor_of(p.scores.sinks)},
          .dropout = dropout_of(p.dropout),
          .scaling = {tensor_of(p.scaling.query), tensor_of(p.scaling.key),
                      tensor_of(p.scaling.value), tensor_of(p.scaling.output_gradient)},
          .error = error};
}

Gradients gradients_of(const Problem& p) {
  const tilewise::Gradients& from = p.gradients;
  return {.output = tensor_of(from.output),
          .lse = tensor_of(from.lse),
          .query = tensor_of(from.query),
          .key = tensor_of(from.key),
          .value = tensor_of(from.value),
          .bias = tensor_of(from.bias),
          .slopes = tensor_of(from.slopes),
          .sinks = tensor_of(from.sinks),
          .bias_size = axes_of(from.bias.size),
          .slopes_batch = from.slopes.size.batch};
}

Rotary rotary_of(const RotaryProblem& p, core::uint32* error) {
  return {.batch = p.batch,
          .heads = p.heads,
          .dim = p.dim,
          .side = side_of(p.side, p.input),
          .input = tensor_of(p.input),
          .output = tensor_of(p.output),
          .rotation = rotation_of(p.rotation),
          .positions = tensor_of(p.positions),
          .fixed = p.fixed,
          .inverse = p.inverse,
          .error = error};
}

Append append_of(const AppendProblem& p, core::uint32* error) {
  return {.batch = p.batch,
          .key_heads = p.key_heads,
          .dim = p.dim,
          .value_dim = p.value_dim,
          .fresh = side_of(p.fresh, p.key),
          .cache = side_of(p.cache, p.key_cache),
          .key = tensor_of(p.key),
          .value = tensor_of(p.value),
          .key_cache = tensor_of(p.key_cache),
          .value_cache = tensor_of(p.value_cache),
          .lengths = tensor_of(p.lengths),
          .rotation = rotation_of(p.rotation),
          .error = error};
}

Merge merge_of(const MergeProblem& p) {
  Merge merge{.batch = p.batch,
              .heads = p.heads,
              .tokens = p.tokens,
              .value_dim = p.value_dim,
              .parts = static_cast<int32>(p.parts),
              .output = tensor_of(p.output),
              .lse = tensor_of(p.lse),
              .sinks = tensor_of(p.sinks),
              .part = {}};
  for (int64 n = 0; n < p.parts; ++n)
    merge.part[n] = {tensor_of(p.part_output(n)), tensor_of(p.part_lse(n))};
  return merge;
}

}  // namespace tilewise::cuda
