// Calls that tensor-core kernels take: 16-bit types, rows of whole pieces of 16 bytes. The tests
// run on whichever backend is chosen, with or without tensor cores.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "conformance/check.h"
#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

constexpr tw_dtype kDtypes[] = {TW_FLOAT16, TW_BFLOAT16};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

// Whether to check fewer cases: under a sanitizer, or if TILEWISE_TIER is smoke.
bool is_slow() {
  const char* tier = std::getenv("TILEWISE_TIER");
  return kIsSanitized || (tier != nullptr && std::string(tier) == "smoke");
}

DtypeCase dtypes_of(tw_dtype dtype) {
  return {.input = dtype, .output = dtype, .lse = TW_FLOAT32};
}

void expect_good(const Case& drawn) {
  const Report report = check_forward(drawn);
  EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
  EXPECT_EQ(report.refusal(), "") << drawn.describe();
}

TEST(Aligned, RandomCallsStayWithinTheBound) {
  const std::uint64_t count = is_slow() ? 20 : 100;
  for (std::uint64_t seed = 1; seed <= count; ++seed) expect_good(draw_aligned_case(seed));
}

// Several tiles of each side, the last ones partial, and every amount of padding with zeros.
TEST(Aligned, EveryHeadDim) {
  for (const tw_dtype dtype : kDtypes) {
    for (std::int64_t dim = 8; dim <= 128; dim += is_slow() ? 40 : 8) {
      const PlainSizes sizes{
          .queries = 131, .keys = 203, .heads = 2, .key_heads = 1, .dim = dim, .value_dim = dim};
      Case drawn = plain_case(static_cast<std::uint64_t>(dim), sizes, dtypes_of(dtype));
      drawn.run.is_scattered = drawn.run.keeps_pieces = true;
      if (dim % 16 == 0) drawn.mask.band.right = 0;
      expect_good(drawn);
    }
  }
}

// Windows that begin and end inside of tiles, on both sides of the diagonal, and chunks.
TEST(Aligned, EveryEdgeOfTheBand) {
  for (const tw_dtype dtype : kDtypes) {
    for (std::int64_t n = 0; n < (is_slow() ? 3 : 12); ++n) {
      const PlainSizes sizes{
          .queries = 190 - n, .keys = 170 + 9 * n, .heads = 1, .dim = 16, .value_dim = 24};
      Case drawn = plain_case(static_cast<std::uint64_t>(n), sizes, dtypes_of(dtype));
      drawn.mask.band.left = 13 * n;
      drawn.mask.band.right = n % 3 == 0 ? 0 : 60 - 7 * n;
      drawn.mask.band.diagonal =
          n % 2 == 0 ? oracle::Diagonal::kBottomRight : oracle::Diagonal::kTopLeft;
      if (n % 4 == 3) drawn.mask.band.chunk = 37;
      expect_good(drawn);
    }
  }
}

// More keys than the buffers hold at once, so that each is filled again and again.
TEST(Aligned, ManyTilesOfKeys) {
  for (const tw_dtype dtype : kDtypes) {
    const PlainSizes sizes{.queries = 40, .keys = 700, .heads = 1, .dim = 128, .value_dim = 128};
    Case drawn = plain_case(3, sizes, dtypes_of(dtype));
    expect_good(drawn);
    set_family(drawn, Family::kPeaky);
    expect_good(drawn);
  }
}

TEST(Aligned, RowsThatSeeNothingGiveZero) {
  for (const tw_dtype dtype : kDtypes) {
    for (const std::int64_t keys : {0, 1, 70}) {
      const PlainSizes sizes{.queries = 150, .keys = keys, .heads = 2, .dim = 32, .value_dim = 40};
      Case drawn = plain_case(5, sizes, dtypes_of(dtype));
      drawn.mask.band.right = 0;  // the last row sees the last key
      Trial trial(drawn);
      trial.forward();
      for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
        if (i >= 150 - keys) return;
        ASSERT_EQ(trial.lse(b, i, h), -std::numeric_limits<double>::infinity()) << i;
        for (std::int64_t d = 0; d < 40; ++d) ASSERT_EQ(trial.output(b, i, h, d), 0) << i;
      });
    }
  }
}

// Keys that a causal row does not see change no bit of it.
TEST(Aligned, LaterKeysChangeNoEarlierRow) {
  constexpr std::int64_t kRows = 200, kFirst = 77;
  for (const tw_dtype dtype : kDtypes) {
    const PlainSizes sizes{.queries = kRows, .keys = kRows, .heads = 2, .dim = 64, .value_dim = 64};
    Case drawn = plain_case(8, sizes, dtypes_of(dtype));
    drawn.mask.band.right = 0;
    Trial before(drawn), after(drawn);
    for_each_key(drawn, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
      if (j < kFirst) return;
      for (std::int64_t d = 0; d < 64; ++d) {
        after.setup.key.write({b, j, h, d}, 3 - static_cast<double>(d % 7));
        after.setup.value.write({b, j, h, d}, 9);
      }
    });
    before.forward();
    after.forward();
    bool differs = false;
    for_each_query(drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      for (std::int64_t d = 0; d < 64; ++d) {
        const bool same =
            before.setup.output.bits({b, i, h, d}) == after.setup.output.bits({b, i, h, d});
        ASSERT_TRUE(same || i >= kFirst) << i;
        differs = differs || !same;
      }
      ASSERT_TRUE(i >= kFirst || before.lse(b, i, h) == after.lse(b, i, h)) << i;
    });
    EXPECT_TRUE(differs);
  }
}

// The scores exceed float32. They are held at half its largest number, so all are equal.
TEST(Aligned, ScoresThatOverflowGiveTheMean) {
  constexpr std::int64_t kKeys = 100;
  for (const double sign : {1.0, -1.0}) {
    const PlainSizes sizes{.queries = 3, .keys = kKeys, .dim = 16, .value_dim = 8};
    Trial trial(plain_case(9, sizes, dtypes_of(TW_BFLOAT16)));
    for_each_query(trial.drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
      for (std::int64_t d = 0; d < 16; ++d) trial.setup.query.write({b, i, h, d}, 0x1p100 * sign);
    });
    for_each_key(trial.drawn, [&](std::int64_t b, std::int64_t j, std::int64_t h) {
      for (std::int64_t d = 0; d < 16; ++d) trial.setup.key.write({b, j, h, d}, 0x1p100);
    });
    trial.forward();
    for (std::int64_t d = 0; d < 8; ++d) {
      double mean = 0, size = 0;
      for (std::int64_t j = 0; j < kKeys; ++j) {
        const double value = trial.setup.value.read({0, j, 0, d});
        mean += value / kKeys;
        size += std::fabs(value) / kKeys;
      }
      for (std::int64_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(trial.output(0, i, 0, d), mean, 0x1p-7 * size);
        EXPECT_NEAR(trial.lse(0, i, 0) * 0x1p-127 * sign, 1, 1e-6);
      }
    }
  }
}

TEST(Aligned, ScoreOfNanMakesItsRowNanAndNoOther) {
  for (const tw_dtype dtype : kDtypes) {
    Trial trial(plain_case(10, {.queries = 20, .keys = 90, .heads = 1, .dim = 16, .value_dim = 16},
                           dtypes_of(dtype)));
    trial.setup.query.write({0, 7, 0, 3}, std::numeric_limits<double>::quiet_NaN());
    trial.forward();
    for (std::int64_t i = 0; i < 20; ++i) {
      EXPECT_EQ(std::isnan(trial.lse(0, i, 0)), i == 7) << i;
      for (std::int64_t d = 0; d < 16; ++d)
        EXPECT_EQ(std::isnan(trial.output(0, i, 0, d)), i == 7) << i;
    }
  }
}

}  // namespace
}  // namespace tilewise::conformance
