// Tables that lie on the host beside tensors on a device, by the emulated backend: what they say
// comes to the kernels through the workspace, from whatever strides, and no byte beyond.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <vector>

#include "backends/cuda/kernels/plain/tables.h"
#include "conformance/guarded.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

using conformance::Guarded;

class HostTables : public testing::Test {
 protected:
  HostTables() { where.device = {TW_CUDA, 0}; }

  Tensor floats(std::initializer_list<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    auto& memory =
        memory_.emplace_back(static_cast<std::size_t>(count) * sizeof(float), Guarded::Flush::kEnd);
    auto* numbers = reinterpret_cast<float*>(memory.data());
    for (std::int64_t n = 0; n < count; ++n)
      numbers[n] = static_cast<float>(std::sin(++drawn_ * 1.7));
    return dense(numbers, shape);
  }

  // Two sequences of three queries each, over five pages of four keys.
  Request paged(std::int32_t (&used)[2], const Tensor& pages) {
    Request request;
    request.query = floats({2, 3, 2, 8});
    request.key = floats({5, 4, 1, 8});
    request.value = floats({5, 4, 1, 8});
    request.output = floats({2, 3, 2, 8});
    request.keys = {.used = dense(used, {2})};
    request.cache = {.page_table = pages};
    return request;
  }

  // By the plain backend of the processor.
  static Execution here() {
    Execution plain;
    plain.backend = "plain";
    return plain;
  }

  // Takes exactly the workspace that is asked for, at an address of no alignment.
  Status run(const Request& request) {
    Status asked = workspace(TW_FORWARD, request, where.workspace_bytes, where);
    if (!asked.ok()) return asked;
    place_workspace();
    return forward(request, where);
  }
  void place_workspace() {
    own_workspace = Guarded(where.workspace_bytes + 1, Guarded::Flush::kBegin);
    where.workspace = own_workspace.data() + 1;
  }

  static void expect_same(const Tensor& got, const Tensor& wanted, std::int64_t count) {
    const auto *a = static_cast<const float*>(got.data),
               *b = static_cast<const float*>(wanted.data);
    for (std::int64_t n = 0; n < count; ++n) ASSERT_NEAR(a[n], b[n], 1e-5) << n;
  }

  Execution where;
  Guarded own_workspace;

 private:
  int drawn_ = 0;
  std::deque<Guarded> memory_;
};

TEST_F(HostTables, SayWhereQueriesAndPagesLie) {
  std::int32_t used[] = {9, 12};
  std::int64_t table[] = {2, 0, 4, 1, 3, 2}, offsets[] = {0, 2, 5};
  Request request;
  request.query = floats({5, 2, 8});
  request.key = floats({5, 4, 1, 8});
  request.value = floats({5, 4, 1, 8});
  request.output = floats({5, 2, 8});
  request.queries = {.offsets = dense(offsets, {3})};
  request.keys = {.used = dense(used, {2})};
  request.cache = {.page_table = dense(table, {2, 3})};
  const Status status = run(request);
  ASSERT_TRUE(status.ok()) << status.message;
  Request honest = request;
  honest.output = floats({5, 2, 8});
  ASSERT_TRUE(forward(honest, here()).ok());
  expect_same(request.output, honest.output, 5 * 2 * 8);
}

// A page table with gaps, read from its last row to its first.
TEST_F(HostTables, MayHaveAnyStrides) {
  std::int32_t used[] = {9, 12};
  std::int32_t rows[] = {1, 3, 2, -1, 2, 0, 4, -1};
  Request request = paged(used, dense(rows, {2, 3}));
  request.cache.page_table.byte_offset = 4 * sizeof(std::int32_t);
  request.cache.page_table.stride[0] = -4;
  const Status status = run(request);
  ASSERT_TRUE(status.ok()) << status.message;
  Request honest = request;
  honest.output = floats({2, 3, 2, 8});
  ASSERT_TRUE(forward(honest, here()).ok());
  expect_same(request.output, honest.output, 2 * 3 * 2 * 8);
}

// More words than two kernels carry.
TEST_F(HostTables, ComeInPieces) {
  constexpr std::int64_t kBatch = 1300;
  std::vector<std::int32_t> offsets(kBatch + 1), used(kBatch);
  for (std::int64_t b = 0; b < kBatch; ++b) {
    const auto n = static_cast<std::size_t>(b);
    offsets[n + 1] = offsets[n] + static_cast<std::int32_t>(b % 3);
    used[n] = static_cast<std::int32_t>(b % 4);
  }
  ASSERT_GT(2 * kBatch * 4, 2 * cuda::kTableWords * 8);
  const std::int64_t tokens = offsets.back();
  Request request;
  request.query = floats({tokens, 1, 4});
  request.key = floats({kBatch, 3, 1, 4});
  request.value = floats({kBatch, 3, 1, 4});
  request.output = floats({tokens, 1, 4});
  request.queries = {.offsets = dense(offsets.data(), {kBatch + 1})};
  request.keys = {.used = dense(used.data(), {kBatch})};
  const Status status = run(request);
  ASSERT_TRUE(status.ok()) << status.message;
  Request honest = request;
  honest.output = floats({tokens, 1, 4});
  ASSERT_TRUE(forward(honest, here()).ok());
  expect_same(request.output, honest.output, tokens * 4);
}

TEST_F(HostTables, AreCheckedAsOnTheProcessor) {
  std::int32_t used[] = {9, 13};
  std::int32_t table[] = {2, 0, 4, 1, 3, 2};
  Request request = paged(used, dense(table, {2, 3}));
  const Status status = forward(request, where);
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_NE(status.message.find("keys.used[1] is 13"), std::string::npos) << status.message;
}

TEST_F(HostTables, OfRotaryAndAppendTakeAWorkspace) {
  std::int32_t positions[] = {3, 0};
  RotaryRequest turn;
  turn.input = floats({2, 3, 2, 8});
  turn.output = floats({2, 3, 2, 8});
  turn.rotation = {.cosine = floats({8, 4}), .sine = floats({8, 4})};
  turn.positions = dense(positions, {2});
  ASSERT_TRUE(workspace(turn, where.workspace_bytes, where).ok());
  EXPECT_EQ(where.workspace_bytes, 16u);
  EXPECT_EQ(rotary(turn, where).message,
            "The workspace is null: this call takes 16 bytes, as tw_workspace_rotary says.");
  place_workspace();
  Status status = rotary(turn, where);
  ASSERT_TRUE(status.ok()) << status.message;
  RotaryRequest honest_turn = turn;
  honest_turn.output = floats({2, 3, 2, 8});
  ASSERT_TRUE(rotary(honest_turn, here()).ok());
  expect_same(turn.output, honest_turn.output, 2 * 3 * 2 * 8);

  std::int32_t lengths[] = {5, 0}, table[] = {2, 0, 1, 3};
  AppendRequest step;
  step.key = floats({2, 2, 1, 8});
  step.value = floats({2, 2, 1, 8});
  step.key_cache = floats({4, 4, 1, 8});
  step.value_cache = floats({4, 4, 1, 8});
  step.lengths = dense(lengths, {2});
  step.cache = {.page_table = dense(table, {2, 2})};
  AppendRequest honest = step;
  honest.key_cache = floats({4, 4, 1, 8});
  std::memcpy(honest.key_cache.data, step.key_cache.data, 4 * 4 * 8 * sizeof(float));
  honest.value_cache = floats({4, 4, 1, 8});
  ASSERT_TRUE(workspace(step, where.workspace_bytes, where).ok());
  --where.workspace_bytes;
  EXPECT_EQ(append(step, where).message,
            "The workspace has 31 bytes: this call takes 32, as tw_workspace_append says.");
  ++where.workspace_bytes;
  place_workspace();
  status = append(step, where);
  ASSERT_TRUE(status.ok()) << status.message;
  ASSERT_TRUE(append(honest, here()).ok());
  expect_same(step.key_cache, honest.key_cache, 4 * 4 * 8);
}

TEST_F(HostTables, TakeNoWorkspaceOnTheProcessorOrOnTheDevice) {
  std::int32_t positions[] = {3, 0};
  RotaryRequest turn;
  turn.input = floats({2, 3, 2, 8});
  turn.output = floats({2, 3, 2, 8});
  turn.rotation = {.cosine = floats({8, 4}), .sine = floats({8, 4})};
  turn.positions = dense(positions, {2});
  std::size_t bytes = 1;
  ASSERT_TRUE(workspace(turn, bytes, here()).ok());
  EXPECT_EQ(bytes, 0u);
  where.device_tables = true;
  bytes = 1;
  ASSERT_TRUE(workspace(turn, bytes, where).ok());
  EXPECT_EQ(bytes, 0u);
}

}  // namespace
}  // namespace tilewise
