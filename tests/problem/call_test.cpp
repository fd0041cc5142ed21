// Outputs against all the rest of a call's memory.
#include "problem/call.h"

#include <gtest/gtest.h>

#include <array>

#include "calls.h"

namespace tilewise {
namespace {

// Puts a tensor over the start of another one's buffer.
void lay_over(tw_tensor& tensor, const tw_tensor& other) {
  tensor.data = other.data;
  tensor.byte_size = 0;
}

using Strides = std::array<std::int64_t, 3>;

// Gives a tensor these strides, and an address that nobody reads.
void tangle(tw_tensor& tensor, Strides strides, std::uintptr_t at) {
  for (int k = 0; k < 3; ++k) tensor.stride[k] = strides[static_cast<std::size_t>(k)];
  tensor.byte_size = 0;
  tensor.data = reinterpret_cast<void*>(at);
}

// Makes query and output tensors of single bytes, with `size` batches, queries and heads, and with
// these strides.
void tangle_all(Attention& a, std::int64_t size, Strides query, Strides output) {
  const auto tensor = [&](std::int64_t rows) {
    tw_tensor made = a.memory.tensor(TW_FLOAT8_E4M3, {1, 1, 1, 1});
    made.shape[0] = made.shape[2] = size;
    made.shape[1] = rows;
    tangle(made, {0, 0, 0}, 4096);
    return made;
  };
  a.request.query = a.request.output = tensor(size);
  a.request.key = a.request.value = tensor(7);
  a.request.lse = {};
  tangle(a.request.query, query, (1 << 20) + 3000000001);
  tangle(a.request.output, output, 1 << 20);
}

}  // namespace

Refusals memory_refusals() {
  using A = Attention;
  return {
      refuse(TW_FORWARD,
             "output visits a byte more than once: the strides of an output must keep its elements "
             "apart.",
             [](A& a) { a.request.output.stride[1] = 0; }),
      refuse(TW_FORWARD, "output visits a byte more than once",
             [](A& a) { a.request.output.stride[1] = 63; }),
      refuse(TW_FORWARD, "lse visits a byte more than once",
             [](A& a) { a.request.lse.stride[0] = 5; }),
      refuse(TW_BACKWARD, "gradients.key visits a byte more than once",
             [](A& a) { a.gradients.key.stride[2] = 0; }),
      refuse(
          TW_FORWARD,
          "output and query share memory: an output needs bytes that no other tensor of the call "
          "has.",
          [](A& a) { lay_over(a.request.query, a.request.output); }),
      refuse(TW_FORWARD, "output and lse share memory",
             [](A& a) { lay_over(a.request.lse, a.request.output); }),
      refuse(TW_BACKWARD, "gradients.query and output share memory",
             [](A& a) { lay_over(a.gradients.query, a.request.output); }),
      refuse(TW_BACKWARD, "gradients.query and gradients.value share memory",
             [](A& a) { lay_over(a.gradients.value, a.gradients.query); }),
      refuse(TW_BACKWARD, "gradients.query and gradients.output share memory",
             [](A& a) { lay_over(a.gradients.output, a.gradients.query); }),
      refuse(TW_FORWARD, "output and mask.visible share memory",
             [](A& a) {
               a.mask.visible = a.memory.tensor(TW_BOOL, {1, 1, 5, 7});
               lay_over(a.mask.visible, a.request.output);
             }),
      refuse(TW_FORWARD, "output and mask.blocks share memory",
             [](A& a) {
               a.mask.blocks = a.memory.tensor(TW_BOOL, {1, 1, 1, 1});
               a.mask.block_query = a.mask.block_key = 16;
               lay_over(a.mask.blocks, a.request.output);
             }),
      refuse(TW_FORWARD, "output and scores.bias share memory",
             [](A& a) {
               a.scores.bias = a.memory.tensor(TW_FLOAT32, {1, 1, 5, 7});
               lay_over(a.scores.bias, a.request.output);
             }),
      refuse(TW_FORWARD, "output and scores.sinks share memory",
             [](A& a) {
               a.scores.sinks = a.memory.tensor(TW_FLOAT32, {4});
               lay_over(a.scores.sinks, a.request.output);
             }),
      refuse(TW_FORWARD, "lse and dropout.state share memory",
             [](A& a) { a.dropout.state = static_cast<std::uint64_t*>(a.request.lse.data); }),
      refuse(TW_FORWARD, "lse and keys.offsets share memory",
             [](A& a) {
               a.pack_keys();
               lay_over(a.keys.offsets, a.request.lse);
             }),
      refuse(TW_FORWARD, "output and scaling.key share memory",
             [](A& a) {
               a.scaling.key = a.memory.tensor(TW_FLOAT32, {1, 1});
               lay_over(a.scaling.key, a.request.output);
             }),
      refuse(TW_FORWARD, "output and cache.page_table share memory",
             [](A& a) {
               a.page_keys();
               lay_over(a.cache.page_table, a.request.output);
             }),
      refuse(
          TW_FORWARD,
          "output and query have strides too tangled to tell whether they share memory: give them "
          "buffers of their own.",
          [](A& a) {
            tangle_all(a, 400, {1067845127, 1201938173, 1373920201},
                       {1000000007, 1131793849, 1298300413});
          },
          TW_UNSUPPORTED),
      refuse(
          TW_FORWARD,
          "output has strides too tangled to tell whether its elements are apart: use strides that "
          "nest.",
          [](A& a) {
            tangle_all(a, 200000, {0, 0, 0}, {1000000000039, 1131793849017, 1298300413021});
          },
          TW_UNSUPPORTED),
  };
}

namespace {

TEST(Call, Refused) {
  expect_refusals(memory_refusals());
}

// The three gradients of one fused projection: interleaved row by row.
TEST(Call, InterleavedGradientsPass) {
  Attention call(TW_BACKWARD);
  const std::int64_t row = 3 * 4 * 8;
  const tw_tensor fused = call.memory.tensor(TW_FLOAT32, {2, 5, row});
  int part = 0;
  for (tw_tensor* tensor : {&call.gradients.query, &call.gradients.key, &call.gradients.value}) {
    *tensor = call.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
    tensor->data = fused.data;
    tensor->byte_size = fused.byte_size;
    tensor->byte_offset = 4 * 32 * part++;
    tensor->stride[0] = 5 * row;
    tensor->stride[1] = row;
  }
  call.request.key = call.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  call.request.value = call.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  call.request.output = call.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  call.gradients.output = call.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  ASSERT_STREQ(call.check().sentence, "");
  call.gradients.value.byte_offset -= 4;
  EXPECT_FALSE(call.check().ok()) << "the last element of key's gradient";
}

TEST(Call, InputsMayShareMemory) {
  Attention call;
  call.request.value = call.request.key = call.memory.tensor(TW_FLOAT32, {2, 7, 2, 8});
  call.request.output = call.memory.tensor(TW_FLOAT32, {2, 5, 4, 8});
  EXPECT_STREQ(call.check().sentence, "");
}

TEST(Call, ShapesAloneAreNotComparedByAddress) {
  Attention call;
  lay_over(call.request.query, call.request.output);
  call.buffers.given = false;
  EXPECT_STREQ(call.check().sentence, "");
}

TEST(Call, OutputsMayRunBackwards) {
  Attention call;
  call.request.output.byte_offset = 4 * 4 * 64;
  call.request.output.stride[1] = -64;
  EXPECT_STREQ(call.check().sentence, "");
}

}  // namespace
}  // namespace tilewise
