// What the backend says of how it would run a problem.
#include <gtest/gtest.h>

#include <string>

#include "environment.h"
#include "plan/backend.h"

namespace tilewise {
namespace {

class CpuNote : public testing::Test {
 protected:
  static Problem problem_of(std::int64_t queries, DType dtype) {
    Problem problem;
    problem.shape = {1, queries, 512, 2, 2, 64, 64};
    problem.queries.rows = queries;
    problem.keys.rows = 512;
    for (View* view : {&problem.query, &problem.key, &problem.value}) view->dtype = dtype;
    return problem;
  }

  static std::string note_of(const Problem& problem) {
    Plan plan;
    const Status status = choose(&problem, {}, {"cpu", "this test"}, plan);
    if (!status.ok()) return status.sentence;
    char note[256];
    Text text(note, sizeof note);
    plan.backend->describe(problem, plan, text);
    return note;
  }

  const Variable isa_{"TILEWISE_CPU_ISA", "portable"};
};

TEST_F(CpuNote, NamesTheInstructionSet) {
  EXPECT_EQ(note_of(problem_of(100, DType::kFloat32)), "portable");
}

TEST_F(CpuNote, SaysWhatIsSlowerAndByHowMuch) {
  Problem problem = problem_of(100, DType::kBFloat16);
  problem.scores.softcap = 30;
  problem.mask.visible.dtype = DType::kBool;
  EXPECT_EQ(note_of(problem), "portable; slower by about: softcap x 1.3, boolean mask x 1.3");
  problem.operation = TW_BACKWARD;
  EXPECT_EQ(note_of(problem), "portable; slower by about: softcap x 1.2, boolean mask x 1.2");
}

TEST_F(CpuNote, SaysWhenRowsAreTakenOneByOne) {
  EXPECT_EQ(note_of(problem_of(1, DType::kFloat32)), "portable");
  isa_.set("avx2");
  const std::string note = note_of(problem_of(1, DType::kFloat32));
  if (note.find("TILEWISE_CPU_ISA is") == 0) GTEST_SKIP() << note;
  EXPECT_EQ(note, "avx2, row by row for few queries");
  EXPECT_EQ(note_of(problem_of(1, DType::kFloat8E4M3)),
            "avx2, row by row for few queries; slower by about: rows that are copied x 2");
}

}  // namespace
}  // namespace tilewise
