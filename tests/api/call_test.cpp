// What the C face promises about calls: workspace, threads, allocation, sentences.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tilewise/tilewise.hpp"

namespace {

std::atomic<long> allocations{0};

}  // namespace

// The whole program counts: what the library takes by malloc comes through here as well. Sanitizers
// bring their own malloc, so there the count stays 0 and the test that needs it says so.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TW_COUNTS_ALLOCATIONS 1
extern "C" void* __libc_malloc(size_t bytes);
extern "C" __attribute__((visibility("default"))) void* malloc(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
#endif

namespace tilewise {
namespace {

// A small causal problem with everything that a backward call takes.
struct Sample {
  static constexpr std::int64_t kLength = 70, kHeads = 2, kDim = 8;
  static constexpr std::size_t kElements = kLength * kHeads * kDim;

  Sample() {
    for (std::size_t i = 0; i < kElements; ++i) {
      query[i] = float(i % 7) / 7;
      key[i] = float(i % 5) / 5;
      value[i] = output_gradient[i] = float(i % 3);
    }
    request.query = dense(query, {1, kLength, kHeads, kDim});
    request.key = dense(key, {1, kLength, kHeads, kDim});
    request.value = dense(value, {1, kLength, kHeads, kDim});
    request.output = dense(output, {1, kLength, kHeads, kDim});
    request.lse = dense(lse, {1, kHeads, kLength});
    request.mask = causal();
    request.gradients.output = dense(output_gradient, {1, kLength, kHeads, kDim});
    request.gradients.query = dense(query_gradient, {1, kLength, kHeads, kDim});
    request.gradients.key = dense(key_gradient, {1, kLength, kHeads, kDim});
    request.gradients.value = dense(value_gradient, {1, kLength, kHeads, kDim});
  }

  float query[kElements], key[kElements], value[kElements], output[kElements] = {};
  float lse[kHeads * kLength] = {}, output_gradient[kElements];
  float query_gradient[kElements] = {}, key_gradient[kElements] = {},
        value_gradient[kElements] = {};
  Request request;
};

TEST(Call, WorkspaceOneByteShortIsRefusedAndChangesNothing) {
  Sample sample;
  std::size_t bytes = 0;
  ASSERT_TRUE(workspace(TW_FORWARD, sample.request, bytes).ok());
  ASSERT_GT(bytes, 0u);
  std::vector<std::byte> memory(bytes);
  Execution execution;
  execution.workspace = memory.data();
  execution.workspace_bytes = bytes - 1;
  const Status status = forward(sample.request, execution);
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_EQ(status.message, "The workspace has " + std::to_string(bytes - 1) +
                                " bytes: this call takes " + std::to_string(bytes) +
                                ", as tw_workspace says.");
  EXPECT_EQ(sample.output[0], 0);
  execution.workspace_bytes = bytes;
  EXPECT_TRUE(forward(sample.request, execution).ok());
  EXPECT_NE(sample.lse[1], 0);
}

TEST(Call, NoWorkspaceIsRefused) {
  Sample sample;
  detail::Lowered form(sample.request);
  char message[128];
  EXPECT_EQ(tw_forward(form.for_operation(TW_FORWARD), nullptr, message, sizeof message),
            TW_INVALID);
  EXPECT_EQ(std::string(message).rfind("The workspace is null: this call takes ", 0), 0u)
      << message;
}

TEST(Call, WorkspaceOverATensorIsRefused) {
  Sample sample;
  std::size_t bytes = 0;
  ASSERT_TRUE(workspace(TW_FORWARD, sample.request, bytes).ok());
  std::vector<float> memory(bytes / sizeof(float) + Sample::kElements);
  sample.request.key =
      dense(memory.data() + 16, {1, Sample::kLength, Sample::kHeads, Sample::kDim});
  Execution execution;
  execution.workspace = memory.data();
  execution.workspace_bytes = bytes;
  EXPECT_EQ(forward(sample.request, execution).message,
            "The workspace overlaps a tensor of the request: give it memory of its own.");
}

TEST(Call, ExecutionIsChecked) {
  Sample sample;
  Execution execution;
  execution.device.kind = 7;
  EXPECT_EQ(forward(sample.request, execution).message,
            "execution.device.kind is 7: give TW_CPU (0) or TW_CUDA (1).");
  execution = {};
  execution.threads = -1;
  EXPECT_EQ(forward(sample.request, execution).message,
            "execution.threads is -1: give 1 to 4096, or 0 for all.");
  execution = {};
  tw_parallel parallel{};
  execution.parallel = &parallel;
  EXPECT_EQ(forward(sample.request, execution).message,
            "execution.parallel has size 0 but 32 bytes are needed: it was built for an older or "
            "different header; set size to sizeof(tw_parallel).");
  parallel.size = sizeof parallel;
  EXPECT_EQ(forward(sample.request, execution).message,
            "execution.parallel.parallel_for is null: give a function.");
  parallel.parallel_for = [](void*, std::int64_t, tw_task, void*) {};
  EXPECT_EQ(forward(sample.request, execution).message,
            "execution.parallel.workers is 0: give 1 to 4096.");
}

TEST(Call, NewerStructIsRefusedOnlyWhereItIsUsed) {
  struct Newer {
    tw_execution known;
    long later;
  } newer{};
  newer.known.size = sizeof newer;
  Sample sample;
  detail::Lowered form(sample.request);
  size_t bytes = 0;
  char message[256] = "";
  const auto ask = [&] {
    return tw_workspace(TW_FORWARD, form.for_operation(TW_FORWARD), &newer.known, &bytes, message,
                        sizeof message);
  };
  EXPECT_EQ(ask(), TW_OK) << message;
  newer.later = 1;
  EXPECT_EQ(ask(), TW_UNSUPPORTED);
  EXPECT_EQ(std::string(message).rfind("execution uses fields of a newer tilewise: byte ", 0), 0u)
      << message;
}

TEST(Call, UnknownOperationIsRefused) {
  Sample sample;
  std::size_t bytes = 0;
  EXPECT_EQ(workspace(static_cast<tw_operation>(3), sample.request, bytes).message,
            "operation is 3: it must be TW_FORWARD (0), TW_BACKWARD (1) or TW_PROBABILITIES (2).");
  detail::Lowered form(sample.request);
  char message[64];
  EXPECT_EQ(tw_workspace(TW_FORWARD, form.for_operation(TW_FORWARD), nullptr, nullptr, message,
                         sizeof message),
            TW_INVALID);
  EXPECT_STREQ(message, "bytes is null: give a place for the answer.");
}

TEST(Call, MessagesAreCutToFit) {
  char message[8] = "xxxxxxx";
  EXPECT_EQ(tw_forward(nullptr, nullptr, message, sizeof message), TW_INVALID);
  EXPECT_EQ(std::strlen(message), sizeof message - 1);
  EXPECT_EQ(tw_forward(nullptr, nullptr, nullptr, 0), TW_INVALID);
}

TEST(Call, AllocatesNothing) {
#ifndef TW_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "The sanitizer's own malloc cannot be counted.";
#else
  Sample sample;
  const tw_operation operations[] = {TW_FORWARD, TW_BACKWARD};
  for (tw_operation operation : operations) {
    std::size_t bytes = 0;
    ASSERT_TRUE(workspace(operation, sample.request, bytes).ok());
    std::vector<std::byte> memory(bytes);
    Execution execution;
    execution.workspace = memory.data();
    execution.workspace_bytes = bytes;
    ASSERT_TRUE(prepare(operation, sample.request, execution).ok());
    detail::Lowered form(sample.request);
    const tw_request* request = form.for_operation(operation);
    const tw_execution where = detail::lowered(execution);
    char message[512];
    const long before = allocations.load();
    const auto function = operation == TW_FORWARD ? tw_forward : tw_backward;
    const tw_status status = function(request, &where, message, sizeof message);
    const tw_status refused = function(nullptr, &where, message, sizeof message);
    EXPECT_EQ(allocations.load(), before);
    EXPECT_EQ(status, TW_OK) << message;
    EXPECT_EQ(refused, TW_INVALID);
  }
  EXPECT_GT(allocations.load(), 0) << "nothing is counted at all";
#endif
}

TEST(Call, SideBySideCallsAgree) {
  Sample first;
  ASSERT_TRUE(forward(first.request).ok());
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        const auto mine = std::make_unique<Sample>();
        if (!forward(mine->request).ok()) ++wrong;
        if (std::memcmp(mine->output, first.output, sizeof first.output) != 0) ++wrong;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Call, SaysWhatItKnows) {
  EXPECT_STREQ(tw_version(), "0.1.0");
  EXPECT_STREQ(tw_backend_name(0), "plain");
  EXPECT_EQ(tw_backend_name(-1), nullptr);
  EXPECT_EQ(tw_backend_name(99), nullptr);
  EXPECT_STREQ(tw_dtype_name(TW_BFLOAT16), "bfloat16");
  EXPECT_EQ(tw_dtype_name(0), nullptr);
  EXPECT_EQ(tw_dtype_bytes(TW_FLOAT64), 8u);
  EXPECT_EQ(tw_dtype_bytes(99), 0u);
}

TEST(Call, ExplainsInWordsAndAsJson) {
  Sample sample;
  std::string words, json;
  ASSERT_TRUE(explain(TW_BACKWARD, sample.request, words).ok());
  ASSERT_TRUE(explain(TW_BACKWARD, sample.request, json, {}, TW_JSON).ok());
  for (const char* part : {"backward, float32", "right 0", "backend    plain", "tile ",
                           "workspace ", "GFLOP", "N^2 d^2 / M", "N d + N^2", "time "})
    EXPECT_NE(words.find(part), std::string::npos) << part << "\n" << words;
  EXPECT_NE(json.find("\"visible_fraction\": 0.507143"), std::string::npos) << json;
  EXPECT_EQ(json.front(), '{');
  EXPECT_EQ(json.back(), '}');
}

}  // namespace
}  // namespace tilewise
