#include "problem/structs.h"

#include <gtest/gtest.h>

#include <cstddef>

#include "calls.h"

namespace tilewise {

// A mask as a later header might have it.
struct LaterMask {
  tw_mask mask;
  std::int64_t more[2];
};

namespace {

Status check_later(std::int64_t value) {
  Attention call;
  LaterMask later{};
  later.mask.size = sizeof later;
  later.more[1] = value;
  call.options.mask = &later.mask;
  return call.check();
}

}  // namespace

Refusals struct_refusals() {
  using A = Attention;
  return {
      refuse(TW_FORWARD, "set size to sizeof(tw_request).", [](A& a) { a.request.size = 8; }),
      refuse(TW_FORWARD, "set size to sizeof(tw_options).", [](A& a) { a.options.size = 0; }),
      refuse(TW_FORWARD, "mask has size 8 but", [](A& a) { a.mask.size = 8; }),
      refuse(TW_FORWARD, "mask has size", [](A& a) { a.mask.size -= 1; }),
      refuse(TW_FORWARD, "set size to sizeof(tw_scores).", [](A& a) { a.scores.size = 8; }),
      refuse(TW_FORWARD, "set size to sizeof(tw_dropout).", [](A& a) { a.dropout.size = 8; }),
      refuse(TW_FORWARD, "queries has size 8 but", [](A& a) { a.queries.size = 8; }),
      refuse(TW_FORWARD, "keys has size 8 but", [](A& a) { a.keys.size = 8; }),
      refuse(TW_FORWARD, "set size to sizeof(tw_cache).", [](A& a) { a.cache.size = 8; }),
      refuse(TW_FORWARD, "set size to sizeof(tw_scaling).", [](A& a) { a.scaling.size = 8; }),
      refuse(TW_BACKWARD, "set size to sizeof(tw_gradients).", [](A& a) { a.gradients.size = 8; }),
      refuse(TW_FORWARD, "mask has size 1000000, more than any version of it",
             [](A& a) { a.mask.size = 1000000; }),
      {"mask uses fields of a newer tilewise: byte", TW_UNSUPPORTED, [] { return check_later(1); }},
      refuse(TW_FORWARD, "mask.has_left is 2: it must be 0 or 1.",
             [](A& a) { a.mask.has_left = 2; }),
      refuse(TW_FORWARD, "mask.has_right is -1: it must be 0 or 1.",
             [](A& a) { a.mask.has_right = -1; }),
      refuse(TW_FORWARD, "scores.has_scale is 7: it must be 0 or 1.",
             [](A& a) { a.scores.has_scale = 7; }),
      refuse(TW_BACKWARD, "options.deterministic is 2: it must be 0 or 1.",
             [](A& a) { a.options.deterministic = 2; }),
  };
}

// A struct that has gained the member `later` since its first header.
struct Grown {
  std::size_t size;
  std::int64_t first;
  std::int64_t later;
};
template <>
constexpr std::size_t kFirstSize<Grown> = offsetof(Grown, later);

namespace {

TEST(Structs, WhatAnOlderHeadersLacksCountsAsZero) {
  Grown memory{.size = offsetof(Grown, later), .first = 5, .later = 7};
  Given<Grown> older;
  ASSERT_TRUE(older.read(&memory, "grown", "tw_grown").ok());
  EXPECT_EQ(older->first, 5);
  EXPECT_EQ(older->later, 0);

  memory.size = sizeof memory;
  Given<Grown> whole;
  ASSERT_TRUE(whole.read(&memory, "grown", "tw_grown").ok());
  EXPECT_EQ(whole->later, 7);

  Given<Grown> absent;
  ASSERT_TRUE(absent.read(nullptr, "grown", "tw_grown").ok());
  EXPECT_EQ(absent->first, 0);
}

TEST(Structs, ASizeThatNoHeaderHadIsRefused) {
  const Grown memory{.size = offsetof(Grown, later) - 1, .first = 5, .later = 7};
  Given<Grown> given;
  EXPECT_STREQ(given.read(&memory, "grown", "tw_grown").sentence,
               "grown has size 15 but no version of tw_grown has less than 16 bytes: set size to "
               "sizeof(tw_grown).");
}

// Sizes of version 0.1.0 never change: if they grew, programs of that time would be refused.
TEST(Structs, FirstSizesAreThoseOfTheFirstHeader) {
  EXPECT_EQ(kFirstSize<tw_mask>, 320u);
  EXPECT_EQ(kFirstSize<tw_scores>, 416u);
  EXPECT_EQ(kFirstSize<tw_dropout>, 72u);
  EXPECT_EQ(kFirstSize<tw_sequences>, 400u);
  EXPECT_EQ(kFirstSize<tw_cache>, 264u);
  EXPECT_EQ(kFirstSize<tw_scaling>, 520u);
  EXPECT_EQ(kFirstSize<tw_options>, 72u);
  EXPECT_EQ(kFirstSize<tw_gradients>, 1032u);
  EXPECT_EQ(kFirstSize<tw_request>, 664u);
  EXPECT_EQ(kFirstSize<tw_parallel>, 32u);
  EXPECT_EQ(kFirstSize<tw_execution>, 56u);
  EXPECT_EQ(kFirstSize<tw_rotation>, 272u);
  EXPECT_EQ(kFirstSize<tw_rotary_request>, 416u);
  EXPECT_EQ(kFirstSize<tw_append_request>, 944u);
  EXPECT_EQ(kFirstSize<tw_merge_request>, 416u);
}

TEST(Structs, Refused) {
  expect_refusals(struct_refusals());
}

TEST(Structs, LargerOnesAreReadWhileTheRestIsZero) {
  EXPECT_TRUE(check_later(0).ok());
}

TEST(Structs, NullOptionsArePlainAttention) {
  Attention call;
  call.request.options = nullptr;
  EXPECT_TRUE(call.check().ok());
  EXPECT_FALSE(call.problem.dropout.decide.active());
}

}  // namespace
}  // namespace tilewise
