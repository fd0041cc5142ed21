// Small problems are worth few workers, large ones all, and memory to read counts as work.
#include "plan/workers.h"

#include <gtest/gtest.h>

#include "environment.h"

namespace tilewise {
namespace {

Problem problem_of(int64 queries, int64 keys, int64 heads) {
  Problem problem;
  problem.shape = {1, queries, keys, heads, heads, 64, 64};
  return problem;
}

// Without TILEWISE_LEAST_SHARE, so that the default holds.
class Workers : public testing::Test {
 protected:
  const Variable least_work_{"TILEWISE_LEAST_SHARE", nullptr};
};

TEST_F(Workers, GrowsWithTheProblem) {
  EXPECT_EQ(workers_worth(problem_of(4, 4, 1), 8), 1);
  EXPECT_EQ(workers_worth(problem_of(16, 16, 8), 8), 1);
  EXPECT_EQ(workers_worth(problem_of(64, 64, 2), 8), 5);
  EXPECT_EQ(workers_worth(problem_of(1024, 1024, 8), 8), 8);
  EXPECT_EQ(workers_worth(problem_of(1024, 1024, 8), 8192), 4362);
  EXPECT_EQ(workers_worth(problem_of(int64{1} << 39, int64{1} << 39, 1 << 20), 4096), 4096);
  int before = 1;
  for (int64 length = 1; length < 2000; length += 7) {
    const int worth = workers_worth(problem_of(length, length, 2), 64);
    EXPECT_GE(worth, before);
    before = worth;
  }
  EXPECT_EQ(before, 64);
}

TEST_F(Workers, IsNeverMoreThanThereIs) {
  for (const int available : {1, 2, 3}) {
    EXPECT_EQ(workers_worth(problem_of(512, 512, 8), available), available);
    EXPECT_EQ(workers_worth(problem_of(0, 0, 0), available), 1);
  }
}

TEST_F(Workers, ReadingManyKeysIsWork) {
  EXPECT_EQ(workers_worth(problem_of(1, 32, 8), 8), 1);
  EXPECT_EQ(workers_worth(problem_of(1, 4096, 8), 8), 8);
}

TEST_F(Workers, AMaskLeavesLessToDo) {
  Problem problem = problem_of(2048, 2048, 1);
  const int full = workers_worth(problem, 4096);
  problem.mask.right = 0;
  const int causal = workers_worth(problem, 4096);
  EXPECT_NEAR(2 * causal, full, 0.02 * full);
  problem.mask.left = 31;
  EXPECT_LT(workers_worth(problem, 4096), causal / 20);
  problem = problem_of(2048, 2048, 1);
  problem.mask.chunk = 32;
  EXPECT_LT(workers_worth(problem, 4096), causal / 20);
}

TEST_F(Workers, BackwardIsWorthMore) {
  Problem problem = problem_of(256, 256, 2);
  const int forward = workers_worth(problem, 4096);
  problem.operation = TW_BACKWARD;
  EXPECT_GT(workers_worth(problem, 4096), 2 * forward);
}

TEST_F(Workers, EnvironmentLowersIt) {
  EXPECT_EQ(workers_worth(problem_of(1, 1, 1), 8), 1);
  least_work_.set("0");
  EXPECT_EQ(workers_worth(problem_of(1, 1, 1), 8), 8);
  for (const char* nothing : {"", "abc", "0 of them"}) {
    least_work_.set(nothing);
    EXPECT_EQ(workers_worth(problem_of(1, 1, 1), 8), 1);
  }
}

}  // namespace
}  // namespace tilewise
