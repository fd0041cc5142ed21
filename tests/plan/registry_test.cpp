// The walk along the list of backends: who is chosen, and what is said when nobody is.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "plan/backend.h"

namespace tilewise {
namespace {

Problem small_problem() {
  Problem problem;
  problem.shape = {1, 4, 4, 1, 1, 8, 8};
  for (View* view : {&problem.query, &problem.key, &problem.value}) view->dtype = DType::kFloat32;
  return problem;
}

class Registry : public testing::Test {
 protected:
  // Continuous integration runs these with instruction sets forced.
  void SetUp() override {
    if (const char* forced = std::getenv("TILEWISE_CPU_ISA")) isa_ = forced;
  }
  void TearDown() override {
    unsetenv("TILEWISE_BACKEND");
    setenv("TILEWISE_CPU_ISA", isa_.c_str(), 1);
  }

  Plan plan_;
  std::string isa_;
};

TEST_F(Registry, ChoosesABackendThatAccepts) {
  const Status status = choose(small_problem(), Machine{}, plan_);
  ASSERT_TRUE(status.ok()) << status.sentence;
  EXPECT_STREQ(plan_.backend->name, "cpu");
  EXPECT_GT(plan_.workspace_bytes, 0);
}

TEST_F(Registry, NamesAreUnique) {
  for (int i = 0; i < kBackendCount; ++i)
    for (int j = 0; j < i; ++j) EXPECT_STRNE(kBackends[i]->name, kBackends[j]->name);
}

TEST_F(Registry, EnvironmentForcesABackend) {
  setenv("TILEWISE_BACKEND", "plain", 1);
  ASSERT_TRUE(choose(small_problem(), Machine{}, plan_).ok());
  EXPECT_STREQ(plan_.backend->name, "plain");
}

TEST_F(Registry, UnknownBackendIsRefused) {
  setenv("TILEWISE_BACKEND", "abacus", 1);
  const Status status = choose(small_problem(), Machine{}, plan_);
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_STREQ(status.sentence,
               "TILEWISE_BACKEND is 'abacus', which is no backend: use one of cpu, plain, or unset "
               "it.");
}

// What cannot be meant is said, and no other backend takes the call in silence.
TEST_F(Registry, UnknownInstructionSetIsRefused) {
  setenv("TILEWISE_CPU_ISA", "abacus", 1);
  const Status status = choose(small_problem(), Machine{}, plan_);
  EXPECT_EQ(status.code, TW_INVALID);
  const std::string sentence = status.sentence;
  EXPECT_EQ(sentence.find("TILEWISE_CPU_ISA is 'abacus', which is no instruction set of this "
                          "library: use one of "),
            0U)
      << sentence;
  EXPECT_NE(sentence.find("portable, or unset it."), std::string::npos) << sentence;
  const Backend* backend = nullptr;
  EXPECT_EQ(choose(Machine{}, backend).code, TW_INVALID);
  EXPECT_EQ(backend, nullptr);
  setenv("TILEWISE_BACKEND", "plain", 1);
  EXPECT_TRUE(choose(small_problem(), Machine{}, plan_).ok());
}

TEST_F(Registry, EnvironmentForcesAnInstructionSet) {
  setenv("TILEWISE_CPU_ISA", "portable", 1);
  ASSERT_TRUE(choose(small_problem(), Machine{}, plan_).ok());
  EXPECT_STREQ(plan_.note, "portable, row by row for few queries");
}

TEST_F(Registry, RefusalNamesEveryReason) {
  const Machine machine{{TW_CUDA, 1}, 1};
  const Status status = choose(small_problem(), machine, plan_);
  EXPECT_EQ(status.code, TW_UNSUPPORTED);
  EXPECT_STREQ(
      status.sentence,
      "No backend can run this. cpu: it runs on the processor, and the device asked for is "
      "CUDA 1. plain: it runs on the processor, and the device asked for is CUDA 1.");
  const Backend* backend = nullptr;
  EXPECT_EQ(choose(machine, backend).code, TW_UNSUPPORTED);
  EXPECT_EQ(backend, nullptr);
}

TEST_F(Registry, WorkspaceGrowsLinearlyWithLength) {
  const auto bytes = [&](tw_operation operation, int64 length) {
    Problem problem = small_problem();
    problem.operation = operation;
    problem.shape.queries = problem.shape.keys = length;
    EXPECT_TRUE(choose(problem, Machine{}, plan_).ok());
    return plan_.workspace_bytes;
  };
  // Tiles of a short call may be smaller. Those of a long one have their full size where they fill
  // its length; else all are a few rows shorter.
  EXPECT_EQ(bytes(TW_FORWARD, 3 << 13), bytes(TW_FORWARD, 3 << 19));
  const int64 once = bytes(TW_BACKWARD, 1 << 15), twice = bytes(TW_BACKWARD, 1 << 16);
  EXPECT_LE(twice, 2 * once);
  EXPECT_GE(twice - once, (1 << 15) * 4);  // one float a row: delta
}

}  // namespace
}  // namespace tilewise
