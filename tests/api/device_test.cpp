// What a backend of another device gets, shown by FakeDevice: tensors and tables that the processor
// must not read, and everything as the caller gave it.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "fake_device.h"
#include "guarded_memory.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

// Every tensor and table lies in memory that nobody may touch.
class Device : public testing::Test {
 protected:
  Device() {
    where.device = {TW_CUDA, 1};
    where.stream = &fake;
    where.workspace = memory_.take(FakeDevice::kWorkspaceBytes);
    where.workspace_bytes = FakeDevice::kWorkspaceBytes;
    where.error = reinterpret_cast<std::uint32_t*>(memory_.take(4));
    where.device_tables = true;
  }

  Tensor tensor(tw_dtype type, std::initializer_list<std::int64_t> shape) {
    std::int64_t bytes = static_cast<std::int64_t>(tw_dtype_bytes(type));
    for (const std::int64_t size : shape) bytes *= size;
    auto* data = static_cast<float*>(memory_.take(static_cast<std::size_t>(bytes)));
    Tensor made = dense(data, shape);
    made.dtype = type;
    return made;
  }
  Tensor floats(std::initializer_list<std::int64_t> shape) { return tensor(TW_FLOAT32, shape); }
  Tensor integers(std::initializer_list<std::int64_t> shape) { return tensor(TW_INT32, shape); }

  // Packed queries on paged keys, with everything that is read at run time.
  Request attention() {
    Request request;
    request.query = floats({10, 4, 8});
    request.key = floats({6, 16, 2, 8});
    request.value = floats({6, 16, 2, 8});
    request.output = floats({10, 4, 8});
    request.lse = floats({4, 10});
    request.queries = {.offsets = integers({4}), .start = integers({3}), .max_length = 7};
    request.keys = {.used = integers({3})};
    request.cache = {.page_table = integers({3, 2})};
    request.mask = causal();
    request.mask.blocks = tensor(TW_BOOL, {3, 4, 1, 2});
    request.mask.block_query = request.mask.block_key = 16;
    request.scores.slopes = floats({4});
    request.scores.sinks = floats({4});
    request.dropout.probability = 0.5;
    request.dropout.state = static_cast<const std::uint64_t*>(memory_.take(16));
    return request;
  }

  RotaryRequest rotated() {
    RotaryRequest request;
    request.input = floats({10, 4, 8});
    request.output = floats({10, 4, 8});
    request.rotation = {.cosine = floats({32, 4}), .sine = floats({32, 4})};
    request.sequences = {.offsets = integers({4}), .max_length = 7};
    request.positions = integers({3});
    return request;
  }

  AppendRequest appended() {
    AppendRequest request;
    request.key = floats({3, 1, 2, 8});
    request.value = floats({3, 1, 2, 8});
    request.key_cache = floats({6, 16, 2, 8});
    request.value_cache = floats({6, 16, 2, 8});
    request.lengths = integers({3});
    request.cache = {.page_table = integers({3, 2})};
    request.rotation = Rotation{.cosine = floats({32, 4}), .sine = floats({32, 4})};
    request.query = floats({3, 1, 4, 8});
    request.rotated_query = floats({3, 1, 4, 8});
    return request;
  }

  MergeRequest merged() {
    for (Tensor& output : outputs_) output = floats({2, 5, 4, 8});
    for (Tensor& lse : lses_) lse = floats({2, 4, 5});
    return {.outputs = outputs_.data(),
            .lses = lses_.data(),
            .parts = 2,
            .output = floats({2, 5, 4, 8}),
            .lse = floats({2, 4, 5})};
  }

  void expect_as_given() const {
    EXPECT_EQ(fake.seen().workspace, where.workspace);
    EXPECT_EQ(fake.seen().stream, where.stream);
    EXPECT_EQ(fake.seen().error, where.error);
  }

  FakeDevice fake;
  Execution where;

 private:
  UntouchableMemory memory_;
  std::array<Tensor, 2> outputs_, lses_;
};

void expect_ok(const Status& status) {
  EXPECT_TRUE(status.ok()) << status.message;
}

TEST_F(Device, GetsAttentionAsItWasGiven) {
  const Request request = attention();
  expect_ok(forward(request, where));
  expect_as_given();
  EXPECT_EQ(fake.seen().query, request.query.data);
  EXPECT_EQ(fake.seen().state, request.dropout.state);
  EXPECT_EQ(fake.seen().queries, 7);
  EXPECT_EQ(fake.seen().keys, 32);
  expect_ok(probabilities(
      [&] {
        Request wanted = request;
        wanted.output = floats({3, 4, 7, 32});
        wanted.lse = {};
        return wanted;
      }(),
      where));
}

TEST_F(Device, GetsBackwardAsItWasGiven) {
  Request request = attention();
  request.gradients = {.output = floats({10, 4, 8}),
                       .query = floats({10, 4, 8}),
                       .key = floats({6, 16, 2, 8}),
                       .slopes = floats({4})};
  expect_ok(backward(request, where));
  expect_as_given();
}

TEST_F(Device, GetsTheOtherOperationsAsTheyWereGiven) {
  expect_ok(rotary(rotated(), where));
  expect_as_given();
  expect_ok(append(appended(), where));
  expect_as_given();
  expect_ok(merge(merged(), where));
  expect_as_given();
  EXPECT_EQ(fake.runs(), 3);
}

TEST_F(Device, AppendsWithoutQueries) {
  AppendRequest step = appended();
  step.query = step.rotated_query = {};
  expect_ok(append(step, where));
  step.queries.max_length = 3;
  EXPECT_EQ(append(step, where).code, TW_INVALID);
}

TEST_F(Device, IsAskedAboutWithoutBeingRun) {
  const Request request = attention();
  std::size_t bytes = 0;
  expect_ok(workspace(TW_FORWARD, request, bytes, where));
  EXPECT_EQ(bytes, FakeDevice::kWorkspaceBytes);
  std::string text;
  expect_ok(explain(TW_FORWARD, request, text, where));
  EXPECT_NE(text.find("backend    cuda: a backend of the tests\n           a note\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("time       not predicted"), std::string::npos) << text;
  EXPECT_EQ(fake.runs(), 0);
}

TEST_F(Device, RunsUnderCaptureWhatWasPreparedAndNothingElse) {
  fake.capture();
  const auto expect_once_prepared = [&](const auto& make_ready, const auto& run) {
    const Status refused = run();
    EXPECT_EQ(refused.code, TW_INVALID);
    EXPECT_EQ(refused.message,
              "The stream is captured and this call is not prepared: prepare it before.");
    fake.forget();
    expect_ok(make_ready());
    expect_as_given();
    expect_ok(run());
  };
  const Request request = attention();
  expect_once_prepared([&] { return prepare(TW_FORWARD, request, where); },
                       [&] { return forward(request, where); });
  Request gradients = request;  // what is prepared for forward is not for backward
  gradients.gradients = {.output = floats({10, 4, 8}), .query = floats({10, 4, 8})};
  expect_once_prepared([&] { return prepare(TW_BACKWARD, gradients, where); },
                       [&] { return backward(gradients, where); });
  const RotaryRequest turn = rotated();
  expect_once_prepared([&] { return prepare(turn, where); }, [&] { return rotary(turn, where); });
  const AppendRequest step = appended();
  expect_once_prepared([&] { return prepare(step, where); }, [&] { return append(step, where); });
  const MergeRequest parts = merged();
  expect_once_prepared([&] { return prepare(parts, where); }, [&] { return merge(parts, where); });
}

// On the processor, too, neither a question nor prepare reads the state of dropout.
TEST_F(Device, NoQuestionReadsTheStateOfDropout) {
  Request request = attention();
  for (Tensor* tensor : {&request.query, &request.key, &request.value, &request.output,
                         &request.lse, &request.queries.offsets, &request.queries.start,
                         &request.keys.used, &request.cache.page_table, &request.mask.blocks,
                         &request.scores.slopes, &request.scores.sinks})
    tensor->data = nullptr;
  const Execution here;
  std::size_t bytes = 0;
  std::string text;
  expect_ok(workspace(TW_FORWARD, request, bytes, here));
  expect_ok(prepare(TW_FORWARD, request, here));
  expect_ok(explain(TW_FORWARD, request, text, here));
}

TEST_F(Device, HasAnIndexThatIsNotNegative) {
  where.device.index = -1;
  EXPECT_EQ(forward(attention(), where).message,
            "execution.device.index is -1: it must not be negative.");
}

TEST_F(Device, PreparesWhatHasNoMemoryYet) {
  AppendRequest step = appended();
  for (Tensor* tensor : {&step.key, &step.value, &step.key_cache, &step.value_cache, &step.lengths})
    tensor->data = nullptr;
  expect_ok(prepare(step, where));
  EXPECT_EQ(append(step, where).message, "key has no data: its pointer is null.");
}

TEST_F(Device, ReadsTablesOfTheHostWhereTheyAreThere) {
  where.device_tables = false;
  Request request;
  request.query = request.output = floats({10, 4, 8});
  request.output = floats({10, 4, 8});
  request.key = request.value = floats({12, 2, 8});
  std::int32_t offsets[] = {0, 4, 10};
  request.queries.offsets = dense(offsets, {3});
  request.keys.offsets = dense(offsets, {3});
  expect_ok(forward(request, where));
  EXPECT_EQ(fake.seen().queries, 6);
  offsets[2] = 13;
  EXPECT_EQ(forward(request, where).message,
            "queries.offsets ends at 13 but query has 10 tokens: the last offset must be at most "
            "that.");
}

TEST_F(Device, NeedsABoundWhereTablesAreNotRead) {
  Request request = attention();
  request.queries.max_length = 0;
  EXPECT_EQ(forward(request, where).message,
            "queries.max_length is 0 and queries.offsets lies on the device: say how long a "
            "sequence is at most.");
}

TEST_F(Device, LeavesNoFaultsWhereNobodyCanSay) {
  std::uint32_t faults = 7;
  EXPECT_EQ(take_faults(faults, where).code, TW_UNSUPPORTED);
  EXPECT_EQ(faults, 7u);
  where = {};
  expect_ok(take_faults(faults, where));
  EXPECT_EQ(faults, 0u);
}

TEST_F(Device, IsAskedForAWorkspaceOfRotaryAndAppend) {
  std::size_t bytes = 7;
  expect_ok(workspace(rotated(), bytes, where));
  EXPECT_EQ(bytes, 0u);
  bytes = 7;
  expect_ok(workspace(appended(), bytes, where));
  EXPECT_EQ(bytes, 0u);
  char message[128];
  EXPECT_EQ(tw_workspace_rotary(nullptr, nullptr, nullptr, message, sizeof message), TW_INVALID);
  EXPECT_STREQ(message, "bytes is null: give a place for the answer.");
}

TEST_F(Device, HasNoTablesOnTheProcessor) {
  where.device = {};
  EXPECT_EQ(forward(attention(), where).message,
            "execution.device_tables is 1 but the call runs on the processor, whose memory is the "
            "host's: leave it 0.");
}

TEST_F(Device, IsOneThatSomeBackendHas) {
  where.device.index = 2;
  const std::string said = forward(attention(), where).message;
  EXPECT_NE(said.find("No backend can run this. cuda: it is for devices 0 and 1."),
            std::string::npos)
      << said;
}

TEST_F(Device, WorkspaceOfADeviceComesFromTheCaller) {
  where.workspace = nullptr;
  EXPECT_EQ(forward(attention(), where).message,
            "The workspace is null: on a device give one that lies there, as large as workspace() "
            "says.");
}

}  // namespace
}  // namespace tilewise
