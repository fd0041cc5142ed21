// The walk along the list of backends: who is chosen, and what is said when nobody is.
#include <gtest/gtest.h>

#include <cstdlib>

#include "plan/backend.h"

namespace tilewise {
namespace {

Problem small_problem() {
  Problem problem;
  problem.shape = {1, 4, 4, 1, 1, 8, 8};
  problem.query.dtype = DType::kFloat32;
  return problem;
}

class Registry : public testing::Test {
 protected:
  void TearDown() override { unsetenv("TILEWISE_BACKEND"); }

  Plan plan_;
};

TEST_F(Registry, ChoosesABackendThatAccepts) {
  const Status status = choose(small_problem(), Machine{}, plan_);
  ASSERT_TRUE(status.ok()) << status.sentence;
  EXPECT_STREQ(plan_.backend->name, "plain");
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
               "TILEWISE_BACKEND is 'abacus', which is no backend: use one of plain, or unset it.");
}

TEST_F(Registry, RefusalNamesEveryReason) {
  const Machine machine{{TW_CUDA, 1}, 1};
  const Status status = choose(small_problem(), machine, plan_);
  EXPECT_EQ(status.code, TW_UNSUPPORTED);
  EXPECT_STREQ(status.sentence,
               "No backend can run this. plain: it runs on the processor, and the device asked for "
               "is CUDA 1.");
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
  EXPECT_EQ(bytes(TW_FORWARD, 1 << 10), bytes(TW_FORWARD, 1 << 16));
  const int64 once = bytes(TW_BACKWARD, 1 << 15), twice = bytes(TW_BACKWARD, 1 << 16);
  EXPECT_LE(twice, 2 * once);
  EXPECT_GE(twice - once, (1 << 15) * 4);  // one float a row: delta
}

}  // namespace
}  // namespace tilewise
