// What the C face promises about calls: workspace, structs, sentences.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tilewise/tilewise.hpp"

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
  }

  Request for_operation(tw_operation operation) {
    Request result = request;
    if (operation != TW_BACKWARD) return result;
    result.gradients.output = dense(output_gradient, {1, kLength, kHeads, kDim});
    result.gradients.query = dense(query_gradient, {1, kLength, kHeads, kDim});
    result.gradients.key = dense(key_gradient, {1, kLength, kHeads, kDim});
    result.gradients.value = dense(value_gradient, {1, kLength, kHeads, kDim});
    return result;
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

TEST(Call, AnErrorWordInTheCallsMemoryIsRefused) {
  Sample sample;
  std::size_t bytes = 0;
  ASSERT_TRUE(workspace(TW_FORWARD, sample.request, bytes).ok());
  std::vector<std::uint32_t> memory(bytes / sizeof(std::uint32_t) + 8);
  Execution execution;
  execution.workspace = memory.data();
  execution.workspace_bytes = bytes;
  const std::string refusal =
      "execution.error lies in a tensor or table of the request, or in the workspace: give it "
      "memory of its own.";
  for (void* inside : {sample.request.key.data, sample.request.output.data, execution.workspace}) {
    if (inside == execution.workspace && bytes == 0) continue;
    execution.error = static_cast<std::uint32_t*>(inside);
    EXPECT_EQ(forward(sample.request, execution).message, refusal);
  }
  execution.error = &memory.back();
  EXPECT_EQ(forward(sample.request, execution).message, "");
}

TEST(Call, WorkspaceOverDropoutsStateIsRefused) {
  Sample sample;
  sample.request.dropout.probability = 0.5;
  std::uint64_t elsewhere[2] = {1, 2};
  sample.request.dropout.state = elsewhere;
  std::size_t bytes = 0;
  ASSERT_TRUE(workspace(TW_FORWARD, sample.request, bytes).ok());
  std::vector<std::uint64_t> memory(bytes / sizeof(std::uint64_t) + 3, 7);
  Execution execution;
  execution.workspace = memory.data();
  execution.workspace_bytes = bytes;
  EXPECT_TRUE(forward(sample.request, execution).ok());
  sample.request.dropout.state = memory.data() + 2;
  EXPECT_EQ(forward(sample.request, execution).message,
            "The workspace overlaps a tensor of the request: give it memory of its own.");
  sample.request.dropout.state = memory.data() + memory.size() - 2;
  EXPECT_TRUE(forward(sample.request, execution).ok());
}

// A workspace must not overlap the bytes of a tensor, but may lie in the gaps between them.
TEST(Call, WorkspaceMayLieBetweenTheRowsOfATensor) {
  Sample sample;
  std::size_t bytes = 0;
  ASSERT_TRUE(workspace(TW_FORWARD, sample.request, bytes).ok());
  const std::size_t gap = bytes / sizeof(float) + 64;
  std::vector<float> memory(gap * Sample::kLength);
  const std::int64_t stride = static_cast<std::int64_t>(gap);
  sample.request.key = dense(memory.data(), {1, Sample::kLength, Sample::kHeads, Sample::kDim});
  sample.request.key.stride[1] = stride;
  sample.request.key.stride[0] = stride * Sample::kLength;
  sample.request.key.byte_size = static_cast<std::int64_t>(memory.size() * sizeof(float));
  Execution execution;
  execution.workspace_bytes = bytes;
  execution.workspace = memory.data() + Sample::kHeads * Sample::kDim;
  EXPECT_EQ(forward(sample.request, execution).message, "");
  execution.workspace = memory.data() + Sample::kHeads * Sample::kDim - 1;
  EXPECT_EQ(forward(sample.request, execution).message,
            "The workspace overlaps a tensor of the request: give it memory of its own.");
}

TEST(Call, GradientsAreRefusedOutsideBackwardInCppAsInC) {
  Sample sample;
  const Request asked = sample.for_operation(TW_BACKWARD);
  tw_gradients gradients{};
  gradients.size = sizeof gradients;
  detail::Lowered form(sample.request);
  tw_request in_c = *form.for_operation(TW_FORWARD);
  in_c.gradients = &gradients;
  char sentence[256];
  ASSERT_EQ(tw_forward(&in_c, nullptr, sentence, sizeof sentence), TW_INVALID);
  EXPECT_EQ(forward(asked).message, sentence);
  std::size_t bytes = 0;
  EXPECT_EQ(workspace(TW_FORWARD, asked, bytes).message, sentence);
  Request wanted = sample.request;
  wanted.gradients.sinks = dense(sample.lse, {Sample::kHeads});
  EXPECT_EQ(forward(wanted).message, sentence);
  EXPECT_EQ(sample.output[0], 0);
  EXPECT_TRUE(forward(sample.request).ok());
  EXPECT_EQ(backward(asked).message, "");
  EXPECT_EQ(backward(sample.request).message.rfind("gradients.output is ", 0), 0u);
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
  EXPECT_EQ(
      forward(sample.request, execution).message,
      "execution.parallel has size 0 but no version of tw_parallel has less than 32 bytes: set "
      "size to sizeof(tw_parallel).");
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

TEST(Call, WorkspaceNeedsAPlaceForItsAnswer) {
  Sample sample;
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

TEST(Call, SaysWhatItKnows) {
  EXPECT_STREQ(tw_version(), "0.3.0");
  EXPECT_STREQ(tw_backend_name(0), "cpu");
  EXPECT_STREQ(tw_backend_name(1), "cuda");
  EXPECT_STREQ(tw_backend_name(2), "plain");
  EXPECT_EQ(tw_backend_name(-1), nullptr);
  EXPECT_EQ(tw_backend_name(99), nullptr);
  EXPECT_STREQ(tw_dtype_name(TW_BFLOAT16), "bfloat16");
  EXPECT_EQ(tw_dtype_name(0), nullptr);
  EXPECT_EQ(tw_dtype_bytes(TW_FLOAT64), 8u);
  EXPECT_EQ(tw_dtype_bytes(99), 0u);
}

TEST(Call, ExplainsInWordsAndAsJson) {
  Sample sample;
  const Request asked = sample.for_operation(TW_BACKWARD);
  std::string words, json;
  ASSERT_TRUE(explain(TW_BACKWARD, asked, words).ok());
  ASSERT_TRUE(explain(TW_BACKWARD, asked, json, {}, TW_JSON).ok());
  for (const char* part : {"backward, float32", "right 0", "backend    ", "tile ", "workspace ",
                           "GFLOP", "N^2 d^2 / M", "N d + N^2", "time "})
    EXPECT_NE(words.find(part), std::string::npos) << part << "\n" << words;
  EXPECT_NE(json.find("\"visible_fraction\": 0.507143"), std::string::npos) << json;
  EXPECT_EQ(json.front(), '{');
  EXPECT_EQ(json.back(), '}');
}

TEST(Call, SequencesWithoutRowsTakeNoTimeHoweverManyThereAre) {
  const std::int64_t many = std::int64_t{1} << 39;
  Request request;
  float sinks[2] = {1, 1}, sinks_gradient[2] = {1, 1}, bias[6] = {};
  float bias_gradient[6] = {1, 1, 1, 1, 1, 1};
  for (Tensor* tensor :
       {&request.query, &request.value, &request.output, &request.gradients.output})
    *tensor = dense<float>(nullptr, {many, 0, 2, 4});
  request.key = dense<float>(nullptr, {many, 3, 2, 4});
  request.key.stride[0] = 0;
  request.value = request.key;
  float keys[24] = {};
  request.key.data = request.value.data = keys;
  request.lse = dense<float>(nullptr, {many, 2, 0});
  request.scores.sinks = dense(sinks, {2});
  request.gradients.sinks = dense(sinks_gradient, {2});
  request.scores.bias = dense(bias, {1, 2, 1, 3});
  request.gradients.bias = dense(bias_gradient, {1, 2, 1, 3});
  const Status status = backward(request);
  EXPECT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(sinks_gradient[0], 0);
  EXPECT_EQ(bias_gradient[5], 0);
}

TEST(Call, RefusedExplanationLeavesTextAndSizeAlone) {
  char text[] = "as before";
  std::size_t needed = 42;
  EXPECT_EQ(
      tw_explain(TW_FORWARD, nullptr, nullptr, TW_TEXT, text, sizeof text, &needed, nullptr, 0),
      TW_INVALID);
  EXPECT_STREQ(text, "as before");
  EXPECT_EQ(needed, 42u);
}

}  // namespace
}  // namespace tilewise
