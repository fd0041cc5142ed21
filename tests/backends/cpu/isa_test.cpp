// Which instruction set is chosen, and the sentence if the one asked for does not run here or does
// not exist.
#include "backends/cpu/isa/isa.h"

#include <gtest/gtest.h>

namespace tilewise::cpu {
namespace {

class ChooseIsa : public testing::Test {
 protected:
  ChooseIsa() : list_{&wide_, &fast_, &slow_} {}

  Status choose(const char* name) { return choose_isa(list_, name, isa_); }

  const Isa wide_{"wide", [] { return false; }, kPortable.of_numbers};
  const Isa fast_{"fast", [] { return true; }, kPortable.of_numbers};
  const Isa slow_{"slow", [] { return true; }, kPortable.of_numbers};
  const Isa* const list_[3];
  const Isa* isa_ = nullptr;
};

TEST_F(ChooseIsa, TakesTheBestThatRuns) {
  for (const char* name : {static_cast<const char*>(nullptr), ""}) {
    ASSERT_TRUE(choose(name).ok());
    EXPECT_EQ(isa_, &fast_);
  }
}

TEST_F(ChooseIsa, TakesTheOneAskedFor) {
  ASSERT_TRUE(choose("slow").ok());
  EXPECT_EQ(isa_, &slow_);
  ASSERT_TRUE(choose("fast").ok());
  EXPECT_EQ(isa_, &fast_);
}

TEST_F(ChooseIsa, RefusesWhatTheMachineLacks) {
  const Status status = choose("wide");
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_STREQ(status.sentence,
               "TILEWISE_CPU_ISA is 'wide', which this machine lacks: use one of fast, slow, or "
               "unset it.");
  EXPECT_EQ(isa_, &fast_);
}

TEST_F(ChooseIsa, RefusesWhatNobodyKnows) {
  const Status status = choose("abacus");
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_STREQ(status.sentence,
               "TILEWISE_CPU_ISA is 'abacus', which is no instruction set of this library: use one "
               "of fast, slow, or unset it.");
  EXPECT_EQ(isa_, &fast_);
}

TEST(BuiltIsas, EndWithOneThatRunsEverywhere) {
  ASSERT_FALSE(built_isas().empty());
  EXPECT_EQ(built_isas().back(), &kPortable);
  EXPECT_TRUE(kPortable.runs_here());
  for (const Isa* isa : built_isas()) {
    const Isa* chosen = nullptr;
    EXPECT_EQ(choose_isa(built_isas(), isa->name, chosen).ok(), isa->runs_here()) << isa->name;
  }
}

// Sanitizers' builds leave out sets, but never this machine's best.
TEST(BuiltIsas, HaveTheBestOfThisMachine) {
  const Isa* chosen = nullptr;
  ASSERT_TRUE(choose_isa(built_isas(), nullptr, chosen).ok());
#if defined(__x86_64__)
  EXPECT_STREQ(chosen->name, runs_amx_bf16()      ? "amx_bf16"
                             : runs_avx512_bf16() ? "avx512_bf16"
                             : runs_avx512()      ? "avx512"
                             : runs_avx2()        ? "avx2"
                                                  : "portable");
#else
  EXPECT_STREQ(chosen->name, built_isas().front()->name);
#endif
}

}  // namespace
}  // namespace tilewise::cpu
