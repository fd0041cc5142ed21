#include "cli/core/call.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "cli/core/element.h"
#include "cli/core/failure.h"
#include "cli/core/joined.h"

namespace tilewise::cli {

tw_tensor dense_tensor(std::int32_t dtype, std::span<const std::int64_t> shape, void* data) {
  tw_tensor tensor = {};
  tensor.data = data;
  tensor.dtype = dtype;
  tensor.rank = static_cast<std::int32_t>(shape.size());
  std::int64_t stride = 1, bytes = 0;
  bool is_too_large = false;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    tensor.shape[axis] = shape[axis];
    tensor.stride[axis] = stride;
    const std::int64_t extent = std::max<std::int64_t>(1, shape[axis]);
    is_too_large |= __builtin_mul_overflow(stride, extent, &stride);
  }
  const auto width = static_cast<std::int64_t>(tw_dtype_bytes(dtype));
  if (is_too_large || __builtin_mul_overflow(stride, width, &bytes)) {
    throw Failure(kUsage,
                  fmt::format("a tensor of shape ({}) has more bytes than 64 bits can count",
                              joined(shape, ", ")));
  }
  tensor.byte_size = element_count(tensor) * width;
  return tensor;
}

std::int64_t element_count(const tw_tensor& tensor) {
  return std::accumulate(tensor.shape, tensor.shape + tensor.rank, std::int64_t{1},
                         std::multiplies<>());
}

Call::Call() {
  request.size = sizeof request;
  options.size = sizeof options;
  mask.size = sizeof mask;
  scores.size = sizeof scores;
  dropout.size = sizeof dropout;
  queries.size = sizeof queries;
  keys.size = sizeof keys;
  cache.size = sizeof cache;
  gradients.size = sizeof gradients;
}

void Call::link(bool has_gradients) {
  const auto asks = [](const tw_sequences& side) {
    return side.offsets.rank != 0 || side.used.rank != 0 || side.start.rank != 0;
  };
  options.mask = &mask;
  options.scores = &scores;
  options.dropout = dropout.probability != 0 ? &dropout : nullptr;
  options.queries = asks(queries) ? &queries : nullptr;
  options.keys = asks(keys) ? &keys : nullptr;
  options.cache = cache.page_table.rank != 0 || cache.batch_index.rank != 0 ? &cache : nullptr;
  request.options = &options;
  request.gradients = has_gradients ? &gradients : nullptr;
}

void set_options(const Case& shape, Call& call) {
  call.mask = detail::lowered(shape.mask);
  call.scores = detail::lowered(shape.scores);
  call.dropout = detail::lowered(shape.dropout);
}

namespace {

std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

tw_sequences packed(std::vector<std::int64_t>& offsets, std::int64_t max_length) {
  tw_sequences side = {};
  side.size = sizeof side;
  const std::array<std::int64_t, 1> shape{static_cast<std::int64_t>(offsets.size())};
  side.offsets = dense_tensor(TW_INT64, shape, offsets.data());
  side.max_length = max_length;
  return side;
}

using Shape = std::vector<std::int64_t>;

void describe_operands(const Case& shape, std::int32_t dtype, Call& call) {
  const Sizes& sizes = shape.sizes;
  const auto rows = [&](std::int64_t length, const std::vector<std::int64_t>& offsets,
                        std::int64_t heads, std::int64_t dim) {
    return dense_tensor(dtype, sizes.is_packed() ? Shape{offsets.back(), heads, dim}
                                                 : Shape{sizes.batch, length, heads, dim});
  };
  tw_request& request = call.request;
  const auto &q = call.query_offsets, &k = call.key_offsets;
  request.query = rows(sizes.queries, q, sizes.heads, sizes.dim);
  request.key = rows(sizes.keys, k, sizes.key_heads, sizes.dim);
  request.value = rows(sizes.keys, k, sizes.key_heads, sizes.value_dim);
  request.output = rows(sizes.queries, q, sizes.heads, sizes.value_dim);
  request.lse = dense_tensor(dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32,
                             sizes.is_packed() ? Shape{sizes.heads, q.back()}
                                               : Shape{sizes.batch, sizes.heads, sizes.queries});
}

void describe_gradients(Call& call) {
  call.gradients.output = call.request.output;
  call.gradients.query = call.request.query;
  call.gradients.key = call.request.key;
  call.gradients.value = call.request.value;
  call.gradients.bias = call.scores.bias;
  call.gradients.sinks = call.scores.sinks;
}

}  // namespace

void describe(const Case& shape, bool backward, Call& call) {
  const std::int32_t dtype = dtype_from_name(shape.dtype);
  const Sizes& sizes = shape.sizes;
  if (sizes.is_packed()) {
    call.query_offsets = offsets_of(sizes.query_lengths);
    call.key_offsets = offsets_of(sizes.key_lengths);
    call.queries = packed(call.query_offsets, sizes.queries);
    call.keys = packed(call.key_offsets, sizes.keys);
  }
  set_options(shape, call);
  const Shape per_head{sizes.heads};
  if (!shape.extras.bias.empty()) call.scores.bias = dense_tensor(dtype, shape.extras.bias);
  if (shape.extras.has_slopes) call.scores.slopes = dense_tensor(TW_FLOAT32, per_head);
  if (shape.extras.has_sinks) call.scores.sinks = dense_tensor(TW_FLOAT32, per_head);
  describe_operands(shape, dtype, call);
  if (backward) describe_gradients(call);
  call.link(backward);
}

std::vector<NamedTensor> tensors_of(Call& call) {
  tw_gradients& gradients = call.gradients;
  std::vector<NamedTensor> all{
      {"query", &call.request.query, false},         {"key", &call.request.key, false},
      {"value", &call.request.value, false},         {"bias", &call.scores.bias, false},
      {"slopes", &call.scores.slopes, false},        {"sinks", &call.scores.sinks, false},
      {"output", &call.request.output, true},        {"lse", &call.request.lse, true},
      {"output-gradient", &gradients.output, false}, {"query-gradient", &gradients.query, true},
      {"key-gradient", &gradients.key, true},        {"value-gradient", &gradients.value, true},
      {"bias-gradient", &gradients.bias, true},      {"slopes-gradient", &gradients.slopes, true},
      {"sinks-gradient", &gradients.sinks, true}};
  std::erase_if(all, [](const NamedTensor& named) { return named.tensor->rank == 0; });
  return all;
}

}  // namespace tilewise::cli
