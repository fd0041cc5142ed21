// Results must have the same bits when a call is repeated or takes other threads or pages, when
// another row or a hidden key changes, and when options are given that are off. Narrow results must
// be the wide ones, rounded once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

constexpr std::uint64_t kCases = 40;
constexpr tw_dtype kDtypes[] = {TW_FLOAT64, TW_FLOAT32, TW_BFLOAT16};

Case draw(std::uint64_t seed, tw_dtype dtype) {
  Case drawn = draw_case(seed);
  drawn.dtypes = {
      .input = dtype, .output = dtype, .lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32};
  drawn.gradients.deterministic = true;
  return drawn;
}

void expect_same_results(Trial& a, Trial& b) {
  EXPECT_TRUE(same_numbers(a.setup.output, b.setup.output)) << a.drawn.describe();
  EXPECT_TRUE(same_numbers(a.setup.lse, b.setup.lse)) << a.drawn.describe();
  const auto of_a = a.setup.gradient_outputs(), of_b = b.setup.gradient_outputs();
  for (std::size_t n = 0; n < of_a.size(); ++n) {
    EXPECT_TRUE(same_numbers(*of_a[n].second, *of_b[n].second))
        << of_a[n].first << " of " << a.drawn.describe();
  }
}

TEST(Determinism, RepetitionGivesTheSameBits) {
  for (const tw_dtype dtype : kDtypes) {
    for (std::uint64_t seed = 1; seed <= kCases; ++seed) {
      Trial first(draw(seed, dtype)), second(draw(seed, dtype));
      first.forward();
      first.backward();
      for (int time = 0; time < 3; ++time) {
        second.forward();
        second.backward();
      }
      expect_same_results(first, second);
    }
  }
}

TEST(Determinism, AThousandRunsGiveTheSameBits) {
  Case drawn = plain_case(
      13,
      {.batch = 2, .queries = 40, .keys = 70, .heads = 4, .key_heads = 2, .dim = 8, .value_dim = 8},
      {.input = TW_FLOAT32, .output = TW_FLOAT32, .lse = TW_FLOAT32});
  drawn.mask.band.right = 0;
  drawn.gradients.deterministic = true;
  drawn.run.threads = 3;
  Trial first(drawn), again(drawn);
  first.forward();
  first.backward();
  for (int time = 0; time < 1000; ++time) {
    again.forward();
    again.backward();
    expect_same_results(first, again);
    if (HasFailure()) return;
  }
}

TEST(Determinism, ThreadsDoNotMatter) {
  for (const tw_dtype dtype : kDtypes) {
    for (std::uint64_t seed = 101; seed <= 100 + kCases; ++seed) {
      Case drawn = draw(seed, dtype);
      drawn.run.by_host = false;
      drawn.run.threads = 1;
      Trial alone(drawn);
      alone.forward();
      alone.backward();
      for (const int threads : {2, 3, 8}) {
        drawn.run.threads = threads;
        Trial together(drawn);
        together.forward();
        together.backward();
        expect_same_results(alone, together);
      }
      drawn.run.by_host = true;
      Trial hosted(drawn);
      hosted.forward();
      hosted.backward();
      expect_same_results(alone, hosted);
    }
  }
}

TEST(Determinism, DropoutOfProbabilityZeroIsNone) {
  for (std::uint64_t seed = 201; seed <= 200 + kCases; ++seed) {
    Case drawn = draw(seed, TW_FLOAT32);
    drawn.dropout.probability = 0;
    Trial without(drawn);
    without.forward();
    without.backward();
    for (const double probability : {0.0, 0.4 / 65536}) {
      Trial with(drawn);
      const auto add = [&](Request& request) {
        request.dropout.size = sizeof request.dropout;
        request.dropout.probability = probability;
        request.dropout.seed = seed;
        request.options.dropout = &request.dropout;
      };
      with.run(TW_FORWARD, add);
      with.run(TW_BACKWARD, add);
      expect_same_results(without, with);
    }
  }
}

TEST(Determinism, SeedsInMemoryAreThoseOfTheRequest) {
  for (std::uint64_t seed = 241; seed <= 240 + kCases; ++seed) {
    Case drawn = draw(seed, TW_FLOAT32);
    drawn.dropout.probability = 0.5;
    drawn.dropout.by_state = false;
    Trial given(drawn);
    drawn.dropout.by_state = true;
    Trial in_memory(drawn);
    for (Trial* each : {&given, &in_memory}) {
      each->forward();
      each->backward();
    }
    expect_same_results(given, in_memory);
  }
}

TEST(Determinism, ZeroStructsArePlainAttention) {
  Trial full(plain_case(
      6,
      {.batch = 2, .queries = 9, .keys = 12, .heads = 4, .key_heads = 2, .dim = 8, .value_dim = 5},
      {.input = TW_FLOAT32, .output = TW_FLOAT32, .lse = TW_FLOAT32}));
  full.forward();
  Trial bare(full.drawn);
  bare.run(TW_FORWARD, [](Request& request) { request.request.options = nullptr; });
  expect_same_results(full, bare);
  Trial zeros(full.drawn);
  zeros.run(TW_FORWARD, [](Request& request) {
    request.mask = {};
    request.mask.size = sizeof request.mask;
    request.scaling = {};
    request.scaling.size = sizeof request.scaling;
    request.options.scaling = &request.scaling;
    request.queries = {};
    request.queries.size = sizeof request.queries;
    request.options.queries = &request.queries;
    request.dropout.size = sizeof request.dropout;
    request.options.dropout = &request.dropout;
    request.cache.size = sizeof request.cache;
    request.options.cache = &request.cache;
  });
  expect_same_results(full, zeros);
}

// Rows whose tiles depend on the number of threads, with some blocks absent.
TEST(Determinism, ThreadsDoNotMatterToManyRowsUnderBlocks) {
  Case drawn = plain_case(21, {.queries = 700, .keys = 90, .heads = 1, .dim = 16, .value_dim = 8},
                          {.input = TW_FLOAT32, .output = TW_FLOAT32, .lse = TW_FLOAT32});
  drawn.mask.has_blocks = true;
  drawn.mask.block_query = drawn.mask.block_key = 16;
  drawn.run.threads = 1;
  Trial alone(drawn);
  alone.forward();
  for (const int threads : {2, 3, 8}) {
    drawn.run.threads = threads;
    Trial together(drawn);
    together.forward();
    expect_same_results(alone, together);
  }
}

// A number near the largest of the type in which scores are computed, so that scores overflow.
double extreme(tw_dtype dtype) {
  return dtype == TW_FLOAT64 ? 1e307 : 1e38;
}

// Expects the same bits in every row for which `same` is true.
template <class Same>
void expect_rows(Trial& before, Trial& after, const Same& same) {
  const Case& drawn = before.drawn;
  for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
    if (!same(i)) return;
    const Index lse = lse_index(drawn.queries, b, h, i);
    EXPECT_EQ(before.setup.lse.bits(lse), after.setup.lse.bits(lse)) << "row " << i;
    for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
      const Index index = row_index(drawn.queries, b, i, h, d);
      EXPECT_EQ(before.setup.output.bits(index), after.setup.output.bits(index)) << "row " << i;
    }
    for (std::int64_t d = 0; d < drawn.dim; ++d) {
      const Index index = row_index(drawn.queries, b, i, h, d);
      EXPECT_EQ(before.setup.gradients.query.bits(index), after.setup.gradients.query.bits(index))
          << "gradient of row " << i;
    }
  });
}

TEST(Determinism, AnExtremeRowChangesNoOther) {
  constexpr std::int64_t kLength = 300, kExtreme = 133;
  for (const tw_dtype dtype : kDtypes) {
    SCOPED_TRACE(name_of(dtype));
    for (const int threads : {1, 3}) {
      Case drawn = plain_case(
          14, {.queries = kLength, .keys = 70, .heads = 1, .dim = 16, .value_dim = 8},
          {.input = dtype, .output = dtype, .lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32});
      drawn.run.threads = threads;
      Trial before(drawn), after(drawn), broken(drawn);
      for (std::int64_t d = 0; d < 16; ++d) {
        after.setup.query.write({0, kExtreme, 0, d}, extreme(dtype));
        broken.setup.query.write({0, kExtreme, 0, d}, std::numeric_limits<double>::quiet_NaN());
      }
      for (Trial* each : {&before, &after, &broken}) {
        each->forward();
        each->backward();
      }
      expect_rows(before, after, [](std::int64_t i) { return i != kExtreme; });
      expect_rows(before, broken, [](std::int64_t i) { return i != kExtreme; });
    }
  }
}

TEST(Determinism, EarlierRowsDoNotSeeLaterKeys) {
  constexpr std::int64_t kLength = 70, kFirstChanged = 37;
  for (const tw_dtype dtype : kDtypes) {
    SCOPED_TRACE(name_of(dtype));
    for (const bool far : {false, true}) {
      Case drawn = plain_case(
          7, {.queries = kLength, .keys = kLength, .heads = 2, .dim = 16, .value_dim = 8},
          {.input = dtype, .output = dtype, .lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32});
      drawn.mask.band.right = 0;
      Trial before(drawn), after(drawn);
      for (std::int64_t j = kFirstChanged; j < kLength; ++j) {
        const double number = far ? extreme(dtype) : 3.0 - 0.5 * static_cast<double>(j);
        for (std::int64_t d = 0; d < 16; ++d) after.setup.key.write({0, j, 0, d}, number);
        for (std::int64_t d = 0; d < 8; ++d) after.setup.value.write({0, j, 0, d}, 1e4);
      }
      for (Trial* each : {&before, &after}) {
        each->forward();
        each->backward();
      }
      expect_rows(before, after, [](std::int64_t i) { return i < kFirstChanged; });
      if (far) continue;
      for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        const Index lse = lse_index(drawn.queries, b, h, i);
        const bool changed = before.setup.lse.bits(lse) != after.setup.lse.bits(lse);
        EXPECT_EQ(changed, i >= kFirstChanged) << "row " << i;
      });
    }
  }
}

TEST(Determinism, NanInAKeyReachesTheRowsThatSeeItAndNoScoreElse) {
  constexpr std::int64_t kLength = 40, kBroken = 21;
  for (const tw_dtype dtype : kDtypes) {
    Case drawn = plain_case(
        8, {.queries = kLength, .keys = kLength, .heads = 1, .dim = 8, .value_dim = 4},
        {.input = dtype, .output = dtype, .lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32});
    drawn.mask.band.right = 0;
    Trial whole(drawn), broken(drawn);
    broken.setup.key.write({0, kBroken, 0, 3}, std::numeric_limits<double>::quiet_NaN());
    whole.forward();
    broken.forward();
    for (std::int64_t i = 0; i < kLength; ++i) {
      if (i >= kBroken) {
        EXPECT_TRUE(std::isnan(broken.output(0, i, 0, 1))) << name_of(dtype) << ", row " << i;
        EXPECT_TRUE(std::isnan(broken.lse(0, i, 0))) << name_of(dtype) << ", row " << i;
      } else {
        EXPECT_EQ(broken.output(0, i, 0, 1), whole.output(0, i, 0, 1)) << "row " << i;
        EXPECT_EQ(broken.lse(0, i, 0), whole.lse(0, i, 0)) << "row " << i;
      }
    }
  }
}

TEST(Determinism, RenumberedPagesGiveTheSameBits) {
  for (std::uint64_t seed = 301; seed < 301 + 12 * kCases; ++seed) {
    Case drawn = draw(seed, TW_FLOAT32);
    if (drawn.keys.storage != Storage::kPaged) continue;
    drawn.run.is_scattered = false;  // overlapping strides would tie pages to their numbers
    Case renumbered = drawn;
    const std::int64_t pages = drawn.keys.outer;
    for (std::int64_t& page : renumbered.keys.places) page = pages - 1 - page;
    Trial before(drawn), after(renumbered);
    for_each_key(drawn, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
      for (std::int64_t d = 0; d < drawn.dim; ++d) {
        after.setup.key.write(row_index(renumbered.keys, b, j, h, d),
                              before.setup.key.read(row_index(drawn.keys, b, j, h, d)));
      }
      for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
        after.setup.value.write(row_index(renumbered.keys, b, j, h, d),
                                before.setup.value.read(row_index(drawn.keys, b, j, h, d)));
      }
    });
    before.forward();
    after.forward();
    EXPECT_TRUE(same_numbers(before.setup.output, after.setup.output)) << drawn.describe();
    EXPECT_TRUE(same_numbers(before.setup.lse, after.setup.lse)) << drawn.describe();
  }
}

TEST(Determinism, NarrowOutputsAreWideOnesRoundedOnce) {
  for (const tw_dtype narrow : {TW_BFLOAT16, TW_FLOAT16}) {
    for (std::uint64_t seed = 901; seed <= 900 + kCases; ++seed) {
      Case drawn = draw(seed, TW_FLOAT32);
      Trial wide(drawn);
      drawn.dtypes.output = narrow;
      Trial rounded(drawn);
      wide.forward();
      rounded.forward();
      for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
          const Index index = row_index(drawn.queries, b, i, h, d);
          ASSERT_EQ(rounded.setup.output.bits(index), encode(narrow, wide.setup.output.read(index)))
              << drawn.describe();
        }
      });
    }
  }
}

TEST(Determinism, NarrowLseIsTheWideOneRoundedOnce) {
  for (std::uint64_t seed = 951; seed <= 950 + kCases; ++seed) {
    Case drawn = draw(seed, TW_FLOAT64);
    Trial wide(drawn);
    drawn.dtypes.lse = TW_FLOAT32;
    Trial rounded(drawn);
    wide.forward();
    rounded.forward();
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      const Index index = lse_index(drawn.queries, b, h, i);
      ASSERT_EQ(rounded.setup.lse.bits(index), encode(TW_FLOAT32, wide.setup.lse.read(index)))
          << drawn.describe();
    });
  }
}

}  // namespace
}  // namespace tilewise::conformance
