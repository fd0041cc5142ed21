// Work is counted from the mask, by hand for small cases.
#include "plan/work.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "plan/explain.h"

namespace tilewise {
namespace {

constexpr double kFastBytes = 512 << 10;

Problem problem_of(int64 length, int64 heads) {
  Problem problem;
  problem.shape = {2, length, length, heads, heads, 8, 4};
  problem.queries.rows = problem.queries.longest = length;
  problem.keys = problem.queries;
  problem.query.dtype = DType::kFloat32;
  return problem;
}

TEST(Work, CountsVisiblePairs) {
  Problem problem = problem_of(10, 3);
  EXPECT_EQ(work_of(problem, {4, 4}, kFastBytes).visible, 2 * 3 * 100);
  problem.mask.right = 0;
  const Work causal = work_of(problem, {4, 4}, kFastBytes);
  EXPECT_EQ(causal.visible, 2 * 3 * 55);
  EXPECT_EQ(causal.pairs, 2 * 3 * 100);
  EXPECT_EQ(causal.flops, causal.visible * 2 * (8 + 4));
  problem.operation = TW_BACKWARD;
  EXPECT_EQ(work_of(problem, {4, 4}, kFastBytes).flops, causal.visible * 2 * (3 * 8 + 2 * 4));
}

TEST(Work, TakesTheLongestWhereLengthsHaveNoData) {
  const View without_data{nullptr, DType::kInt32, {2, 1, 1, 1}, {1, 0, 0, 0}};
  for (View Side::*table : {&Side::used, &Side::start, &Side::offsets, &Side::batch_index}) {
    Problem problem = problem_of(10, 1);
    problem.keys.*table = without_data;
    EXPECT_EQ(work_of(problem, {4, 4}, kFastBytes).visible, 2 * 100);
  }
}

TEST(Work, AnswersAtOnceForShapesThatNothingCanRun) {
  Problem problem = problem_of(int64{1} << 39, 1);
  problem.shape.batch = int64{1} << 15;
  problem.mask.right = 0;
  const Work work = work_of(problem, {4, 4}, kFastBytes);
  EXPECT_NEAR(work.visible / work.pairs, 0.5, 1e-4);
}

TEST(Work, CountsBlocksThatManySequencesAndHeadsShareOnce) {
  Problem problem = problem_of(16, 1 << 19);
  problem.shape.batch = int64{1} << 39;
  std::byte block{1};
  problem.mask.blocks = {&block, DType::kBool, {problem.shape.batch, 1 << 19, 1, 1}, {0, 0, 0, 0}};
  problem.mask.block_query = problem.mask.block_key = 16;
  EXPECT_EQ(work_of(problem, {32, 64}, kFastBytes).visible, 0x1p58 * 256);
}

TEST(Work, LeavesOutAbsentBlocks) {
  Problem problem = problem_of(40, 1);
  std::byte blocks[9] = {};
  blocks[0] = blocks[4] = blocks[8] =
      std::byte{1};  // 16 x 16 along the diagonal, the last one 8 x 8
  problem.mask.blocks = {blocks, DType::kBool, {1, 1, 3, 3}, {0, 0, 3, 1}};
  problem.mask.block_query = problem.mask.block_key = 16;
  EXPECT_EQ(work_of(problem, {32, 64}, kFastBytes).visible, 2 * (256 + 256 + 64));
}

TEST(Work, TrafficOfTheTileLiesBetweenModelAndStandardForLongRows) {
  const Problem problem = problem_of(8192, 2);
  const Work work = work_of(problem, {32, 64}, kFastBytes);
  EXPECT_LT(work.model_bytes, work.tiled_bytes);
  EXPECT_GT(work.standard_bytes, 2.0 * 2 * 8192 * 8192 * 4);  // at least the score matrix
  // Each tile of 32 queries reads all 8192 rows of key and value; queries and outputs move once.
  EXPECT_EQ(work.tiled_bytes, 2.0 * 2 * (8192 + 8192.0 * 8192 / 32) * (8 + 4) * 4);
}

TEST(Work, PredictsFromARun) {
  Problem problem = problem_of(512, 2);
  Plan plan;
  ASSERT_TRUE(choose(&problem, {}, {}, plan).ok());
  const Work work = work_of(problem, plan.tile, kFastBytes);
  const double seconds = predicted_seconds(problem, plan, work, Parallel(1));
  EXPECT_GT(seconds, 0);
  Work twice = work;
  twice.flops *= 1000;
  EXPECT_GT(predicted_seconds(problem, plan, twice, Parallel(1)), 20 * seconds);
}

TEST(Explain, CountsWhatItCuts) {
  const Problem problem = problem_of(64, 2);
  Plan plan;
  ASSERT_TRUE(choose(&problem, {}, {}, plan).ok());
  const Work work = work_of(problem, plan.tile, kFastBytes);
  char whole[4096], part[64];
  Text all(whole, sizeof whole), cut(part, sizeof part), none(nullptr, 0);
  for (Text* text : {&all, &cut, &none}) explain_text(problem, plan, work, 0.5, *text);
  EXPECT_EQ(all.needed(), std::strlen(whole) + 1);
  EXPECT_EQ(cut.needed(), all.needed());
  EXPECT_EQ(none.needed(), all.needed());
  EXPECT_EQ(std::string(part), std::string(whole, sizeof part - 1));
}

}  // namespace
}  // namespace tilewise
