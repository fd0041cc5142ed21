#include "calls.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tilewise {
namespace {

template <class T>
void set_sizes(T& some) {
  some.size = sizeof some;
}

template <class... T>
void size_all(T&... some) {
  (set_sizes(some), ...);
}

}  // namespace

tw_tensor Memory::tensor(std::int32_t dtype, std::initializer_list<std::int64_t> shape) {
  tw_tensor made{};
  made.dtype = dtype;
  made.rank = static_cast<std::int32_t>(shape.size());
  std::int64_t elements = 1;
  int k = made.rank;
  for (auto size = shape.end(); size != shape.begin();) {
    made.shape[--k] = *--size;
    made.stride[k] = elements;
    elements *= *size;
  }
  made.byte_size = elements * core::bytes_of(static_cast<DType>(dtype));
  made.data = buffers_.emplace_back(static_cast<std::size_t>(made.byte_size / 8 + 1)).data();
  return made;
}

tw_tensor Memory::integers(std::initializer_list<std::int64_t> values, std::int64_t columns) {
  const auto count = static_cast<std::int64_t>(values.size());
  tw_tensor made =
      columns ? tensor(TW_INT64, {count / columns, columns}) : tensor(TW_INT64, {count});
  std::copy(values.begin(), values.end(), static_cast<std::int64_t*>(made.data));
  return made;
}

tw_tensor Memory::short_integers(std::initializer_list<std::int32_t> values) {
  tw_tensor made = tensor(TW_INT32, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), static_cast<std::int32_t*>(made.data));
  return made;
}

Attention::Attention(tw_operation asked) : operation(asked) {
  size_all(mask, scores, dropout, queries, keys, cache, scaling, options, gradients, request);
  options.mask = &mask;
  options.scores = &scores;
  options.dropout = &dropout;
  options.queries = &queries;
  options.keys = &keys;
  options.cache = &cache;
  options.scaling = &scaling;
  request.options = &options;
  request.query = memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  request.key = memory.tensor(TW_FLOAT32, {2, 7, 2, 8});
  request.value = memory.tensor(TW_FLOAT32, {2, 7, 2, 16});
  request.output = memory.tensor(TW_FLOAT32, {2, 5, 4, 16});
  request.lse = memory.tensor(TW_FLOAT32, {2, 4, 5});
  if (operation == TW_PROBABILITIES) request.output = memory.tensor(TW_FLOAT32, {2, 4, 5, 7});
  if (operation != TW_BACKWARD) return;
  request.gradients = &gradients;
  gradients.output = memory.tensor(TW_FLOAT32, {2, 5, 4, 16});
  gradients.query = memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  gradients.key = memory.tensor(TW_FLOAT32, {2, 7, 2, 8});
  gradients.value = memory.tensor(TW_FLOAT32, {2, 7, 2, 16});
}

void Attention::pack_queries() {
  queries.offsets = memory.integers({0, 3, 5});
  request.query = memory.tensor(TW_FLOAT32, {6, 4, 8});
  request.lse = memory.tensor(TW_FLOAT32, {4, 6});
  if (operation != TW_PROBABILITIES) request.output = memory.tensor(TW_FLOAT32, {6, 4, 16});
  if (operation != TW_BACKWARD) return;
  gradients.output = memory.tensor(TW_FLOAT32, {6, 4, 16});
  gradients.query = memory.tensor(TW_FLOAT32, {6, 4, 8});
}

void Attention::pack_keys() {
  keys.offsets = memory.short_integers({0, 3, 10});
  request.key = memory.tensor(TW_FLOAT32, {12, 2, 8});
  request.value = memory.tensor(TW_FLOAT32, {12, 2, 16});
  if (operation != TW_BACKWARD) return;
  gradients.key = memory.tensor(TW_FLOAT32, {12, 2, 8});
  gradients.value = memory.tensor(TW_FLOAT32, {12, 2, 16});
}

void Attention::page_keys() {
  cache.page_table = memory.integers({3, 0, 1, 4}, 2);
  keys.used = memory.integers({5, 8});
  request.key = memory.tensor(TW_FLOAT32, {5, 4, 2, 8});
  request.value = memory.tensor(TW_FLOAT32, {5, 4, 2, 16});
  if (operation == TW_PROBABILITIES) request.output = memory.tensor(TW_FLOAT32, {2, 4, 5, 8});
  if (operation != TW_BACKWARD) return;
  gradients.key = memory.tensor(TW_FLOAT32, {5, 4, 2, 8});
  gradients.value = memory.tensor(TW_FLOAT32, {5, 4, 2, 16});
}

void Attention::index_keys() {
  cache.batch_index = memory.integers({2, 0});
  request.key = memory.tensor(TW_FLOAT32, {3, 7, 2, 8});
  request.value = memory.tensor(TW_FLOAT32, {3, 7, 2, 16});
  if (operation != TW_BACKWARD) return;
  gradients.key = memory.tensor(TW_FLOAT32, {3, 7, 2, 8});
  gradients.value = memory.tensor(TW_FLOAT32, {3, 7, 2, 16});
}

void Attention::forget_memory() {
  buffers.given = false;
  for (tw_tensor* tensor :
       {&request.query,     &request.key,      &request.value,   &request.output,
        &request.lse,       &queries.offsets,  &queries.used,    &queries.start,
        &keys.offsets,      &keys.used,        &keys.start,      &cache.page_table,
        &cache.batch_index, &gradients.output, &gradients.query, &gradients.key,
        &gradients.value,   &mask.blocks,      &mask.visible,    &scores.bias}) {
    tensor->data = nullptr;
  }
}

Status Attention::check() {
  Call call(buffers);
  return tilewise::check(operation, &request, call, problem);
}

Rotary::Rotary() {
  size_all(rotation, sequences, request);
  rotation.cosine = memory.tensor(TW_FLOAT32, {16, 3});
  rotation.sine = memory.tensor(TW_FLOAT32, {16, 3});
  request.rotation = &rotation;
  request.sequences = &sequences;
  request.input = memory.tensor(TW_FLOAT32, {2, 5, 3, 8});
  request.output = memory.tensor(TW_BFLOAT16, {2, 5, 3, 8});
  request.positions = memory.integers({0, 7});
}

Status Rotary::check() {
  Call call(buffers);
  return tilewise::check(&request, call, problem);
}

Append::Append() {
  size_all(keys, queries, cache, rotation, request);
  rotation.cosine = memory.tensor(TW_FLOAT32, {16, 4});
  rotation.sine = memory.tensor(TW_FLOAT32, {16, 4});
  request.keys = &keys;
  request.queries = &queries;
  request.cache = &cache;
  request.rotation = &rotation;
  request.key = memory.tensor(TW_FLOAT32, {2, 3, 2, 8});
  request.value = memory.tensor(TW_FLOAT32, {2, 3, 2, 16});
  request.key_cache = memory.tensor(TW_FLOAT16, {2, 9, 2, 8});
  request.value_cache = memory.tensor(TW_FLOAT8_E4M3, {2, 9, 2, 16});
  request.lengths = memory.integers({4, 0});
  request.query = memory.tensor(TW_FLOAT32, {2, 3, 4, 8});
  request.rotated_query = memory.tensor(TW_FLOAT32, {2, 3, 4, 8});
}

void Append::page_cache() {
  cache.page_table = memory.integers({5, 0, 1, 2}, 2);
  request.key_cache = memory.tensor(TW_FLOAT16, {6, 4, 2, 8});
  request.value_cache = memory.tensor(TW_FLOAT16, {6, 4, 2, 16});
}

Status Append::check() {
  Call call(buffers);
  return tilewise::check(&request, call, problem);
}

Merge::Merge() {
  size_all(request);
  for (int part = 0; part < 3; ++part) {
    outputs.push_back(memory.tensor(TW_FLOAT16, {2, 5, 4, 8}));
    lses.push_back(memory.tensor(TW_FLOAT32, {2, 4, 5}));
  }
  request.outputs = outputs.data();
  request.lses = lses.data();
  request.parts = 3;
  request.output = memory.tensor(TW_FLOAT16, {2, 5, 4, 8});
  request.lse = memory.tensor(TW_FLOAT32, {2, 4, 5});
}

Status Merge::check() {
  Call call(buffers);
  return tilewise::check(&request, call, problem);
}

void expect_refusals(const Refusals& refusals) {
  for (const Refusal& refusal : refusals) {
    const Status status = refusal.call();
    const std::string sentence = status.sentence;
    EXPECT_EQ(status.code, refusal.code) << "for: " << refusal.sentence;
    EXPECT_NE(sentence.find(refusal.sentence), std::string::npos)
        << "  said: " << sentence << "\nwanted: " << refusal.sentence;
  }
}

}  // namespace tilewise
