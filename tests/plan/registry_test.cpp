// The walk along the list of backends: who is chosen, and what is said when nobody is.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "environment.h"
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
  Status choose(const Asked& asked, const Machine& machine = {}) {
    return tilewise::choose(asked, machine, {settings().backend, "TILEWISE_BACKEND"}, plan_);
  }

  const Problem problem_ = small_problem();
  Plan plan_;
  // Continuous integration may run these with something forced.
  const Variable backend_{"TILEWISE_BACKEND", nullptr};
  const Variable isa_{"TILEWISE_CPU_ISA", std::getenv("TILEWISE_CPU_ISA")};
};

TEST_F(Registry, ChoosesABackendThatAccepts) {
  const Status status = choose(&problem_);
  ASSERT_TRUE(status.ok()) << status.sentence;
  EXPECT_STREQ(plan_.backend->name, "cpu");
  EXPECT_GT(plan_.workspace_bytes, 0);
}

TEST_F(Registry, NamesAreUnique) {
  for (const Backend* a : backends())
    for (const Backend* b : backends()) EXPECT_TRUE(a == b || std::strcmp(a->name, b->name) != 0);
}

TEST_F(Registry, EnvironmentForcesABackend) {
  backend_.set("plain");
  ASSERT_TRUE(choose(&problem_).ok());
  EXPECT_STREQ(plan_.backend->name, "plain");
}

TEST_F(Registry, UnknownBackendIsRefused) {
  backend_.set("abacus");
  const Status status = choose(&problem_);
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_STREQ(
      status.sentence,
      "TILEWISE_BACKEND is 'abacus', which is no backend: use one of cpu, cuda, plain, or leave "
      "it unset.");
}

// A name that no instruction set has is refused, and no other backend takes the call instead.
TEST_F(Registry, UnknownInstructionSetIsRefused) {
  isa_.set("abacus");
  const Status status = choose(&problem_);
  EXPECT_EQ(status.code, TW_INVALID);
  const std::string sentence = status.sentence;
  EXPECT_EQ(sentence.find("TILEWISE_CPU_ISA is 'abacus', which is no instruction set of this "
                          "library: use one of "),
            0U)
      << sentence;
  EXPECT_NE(sentence.find("portable, or unset it."), std::string::npos) << sentence;
  const RotaryProblem rotary;
  EXPECT_EQ(choose(&rotary).code, TW_INVALID);
  EXPECT_EQ(plan_.backend, nullptr);
  backend_.set("plain");
  EXPECT_TRUE(choose(&problem_).ok());
}

TEST_F(Registry, EnvironmentForcesAnInstructionSet) {
  isa_.set("portable");
  ASSERT_TRUE(choose(&problem_).ok());
  char note[64];
  Text text(note, sizeof note);
  plan_.backend->describe(problem_, plan_, text);
  EXPECT_STREQ(note, "portable");
}

// Machines that test this have no GPU, or no 64 of them.
TEST_F(Registry, RefusalNamesTheReason) {
  const Machine machine{{TW_CUDA, 63}, 1};
  const Status status = choose(&problem_, machine);
  EXPECT_EQ(status.code, TW_UNSUPPORTED);
  EXPECT_EQ(std::string(status.sentence).rfind("No backend can run this. cuda: there is no ", 0),
            0u)
      << status.sentence;
  const MergeProblem merge;
  EXPECT_EQ(choose(&merge, machine).code, TW_UNSUPPORTED);
  EXPECT_EQ(plan_.backend, nullptr);
}

TEST_F(Registry, ANamedBackendSaysThatItRunsElsewhere) {
  backend_.set("plain");
  EXPECT_STREQ(choose(&problem_, {{TW_CUDA, 1}, 1}).sentence,
               "No backend can run this. plain: it runs on the processor, and the device asked for "
               "is CUDA 1. TILEWISE_BACKEND allows no other.");
}

}  // namespace
}  // namespace tilewise
