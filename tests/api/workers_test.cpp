// How many workers a call takes: what it is worth, never more than it was given, and to the same
// bits.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "environment.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

// Dense attention of so many queries over as many keys.
struct Dense {
  static constexpr std::int64_t kHeads = 2, kDim = 32;

  explicit Dense(std::int64_t length)
      : inputs(size(length)), output(inputs.size()), lse(size(length) / kDim) {
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = float(i % 11) / 11 - 0.5f;
    request.query = dense(inputs.data(), {1, length, kHeads, kDim});
    request.key = request.value = request.query;
    request.output = dense(output.data(), {1, length, kHeads, kDim});
    request.lse = dense(lse.data(), {1, kHeads, length});
  }

  static std::size_t size(std::int64_t length) {
    return static_cast<std::size_t>(length * kHeads * kDim);
  }

  std::vector<float> inputs, output, lse;
  Request request;
};

// An embedder's parallel_for on one thread, with the worker numbers in turn.
struct Host {
  explicit Host(std::int32_t workers) : parallel{sizeof parallel, run, this, workers} {}

  static void run(void* host, std::int64_t tasks, tw_task task, void* argument) {
    auto& self = *static_cast<Host*>(host);
    ++self.calls;
    for (std::int64_t t = 0; t < tasks; ++t)
      task(argument, t, static_cast<std::int32_t>(t % self.parallel.workers));
  }

  tw_parallel parallel;
  int calls = 0;
};

class Workers : public testing::Test {
 protected:
  const Variable least_share_{"TILEWISE_LEAST_SHARE", nullptr};
};

constexpr std::int64_t kTiny = 4, kMiddling = 150, kLarge = 700;

int workers_of(const Dense& problem, const Execution& where) {
  std::string json;
  const Status status = explain(TW_FORWARD, problem.request, json, where, TW_JSON);
  EXPECT_TRUE(status.ok()) << status.message;
  const std::string name = "\"workers\": ";
  return std::atoi(json.c_str() + json.find(name) + name.size());
}

TEST_F(Workers, AreAsManyAsTheCallIsWorth) {
  const Dense tiny(kTiny), middling(kMiddling), large(kLarge);
  for (const int threads : {1, 2, 8}) {
    Execution where;
    where.threads = threads;
    EXPECT_EQ(workers_of(tiny, where), 1);
    EXPECT_EQ(workers_of(large, where), threads);
  }
  Execution where;
  where.threads = 4096;
  EXPECT_GT(workers_of(middling, where), 1);
  EXPECT_LT(workers_of(middling, where), workers_of(large, where));
  EXPECT_LT(workers_of(large, where), 4096);
}

TEST_F(Workers, OfAnEmbedderAreAllOrNone) {
  for (const std::int64_t length : {kTiny, kMiddling}) {
    Dense ours(length), theirs(length);
    Host host(64);
    Execution where;
    where.parallel = &host.parallel;
    EXPECT_EQ(workers_of(theirs, where), length == kTiny ? 1 : 64);
    host.calls = 0;
    ASSERT_TRUE(forward(theirs.request, where).ok());
    EXPECT_EQ(host.calls > 0, length != kTiny);
    ASSERT_TRUE(forward(ours.request).ok());
    EXPECT_EQ(ours.output, theirs.output);
  }
}

// explain times a sample of the call. The sample is worth one worker, though the call has two, and
// must not write beyond the workspace for one.
TEST_F(Workers, ExplanationsOfManyTinyCallsKeepToTheirMemory) {
  Request request;
  request.query = request.output = dense<float>(nullptr, {100000, 1, 8, 16});
  request.key = request.value = dense<float>(nullptr, {100000, 16, 8, 16});
  Execution where;
  where.threads = 2;
  std::string text;
  for (int n = 0; n < 3; ++n) EXPECT_TRUE(explain(TW_FORWARD, request, text, where).ok());
}

// The number of workers changes no bit. `forward` of the C++ face allocates exactly the workspace
// that tw_workspace returns.
TEST_F(Workers, ChangeNoBit) {
  for (const std::int64_t length : {kTiny, kMiddling, kLarge}) {
    Dense expected(length);
    Execution where;
    where.threads = 1;
    ASSERT_TRUE(forward(expected.request, where).ok());
    for (const int threads : {2, 3, 8, 64}) {
      Dense problem(length);
      where.threads = threads;
      const Status status = forward(problem.request, where);
      ASSERT_TRUE(status.ok()) << status.message;
      EXPECT_EQ(problem.output, expected.output) << length << " " << threads;
      EXPECT_EQ(problem.lse, expected.lse) << length << " " << threads;
    }
  }
}

}  // namespace
}  // namespace tilewise
