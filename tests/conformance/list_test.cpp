// Tests of the harness's list of checks (series.h): no series (source, family and type) is missing,
// each tier takes cases of every series, and the numbers of each family are what its name says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "conformance/coverage.h"
#include "conformance/series.h"
#include "conformance/setup.h"
#include "conformance/trial.h"
#include "conformance/values.h"

namespace tilewise::conformance {
namespace {

constexpr tw_dtype kDtypes[] = {TW_FLOAT64,  TW_FLOAT32,     TW_FLOAT16,
                                TW_BFLOAT16, TW_FLOAT8_E4M3, TW_FLOAT8_E5M2};

std::vector<Pick> picks_of(const char* tier) {
  return pick(series_named(""), *tier_named(tier));
}

TEST(List, HasEveryFamilyInEveryTypeFromBothSources) {
  for (const Family family : kFamilies) {
    for (const tw_dtype dtype : kDtypes) {
      for (const char* source : {"random", "museum"}) {
        const std::string name = std::string(source) + '/' + name_of(family) + '/' + name_of(dtype);
        EXPECT_EQ(series_named(name).size(), 1U) << name;
      }
    }
  }
  EXPECT_EQ(series_named("long/needle").size(), std::size(kDtypes));
  EXPECT_TRUE(series_named("random/gau").empty());
}

TEST(List, EveryTierTakesSomethingOfEverySeries) {
  for (const Tier& tier : all_tiers()) {
    std::map<const Series*, int> counts;
    for (const Pick& one : picks_of(tier.name)) ++counts[one.series];
    EXPECT_EQ(counts.size(), all_series().size()) << tier.name;
  }
}

TEST(List, TiersGrow) {
  std::size_t before = 0;
  for (const Tier& tier : all_tiers()) {
    const std::size_t count = picks_of(tier.name).size();
    EXPECT_GT(count, before) << tier.name;
    before = count;
  }
}

TEST(List, QuickTierMeetsEveryTwoFeatures) {
  Coverage coverage;
  for (const Pick& one : picks_of("quick")) {
    if (one.series->source == Source::kRandom) {
      coverage.add(features_of(one.series->draw(one.seed)));
    }
  }
  EXPECT_GT(coverage.possible(), 1300U);
  for (const std::string& pair : coverage.missing()) ADD_FAILURE() << "never met: " << pair;
}

struct Sizes {
  std::set<std::int64_t> queries, keys, dims, value_dims, heads;
  std::set<std::pair<std::int64_t, std::int64_t>> lengths;
};

Sizes sizes_in(const char* tier) {
  Sizes sizes;
  for (const Pick& one : picks_of(tier)) {
    if (one.series->source != Source::kMuseum) continue;
    const Case drawn = one.series->draw(one.seed);
    for (std::int64_t b = 0; b < drawn.batch; ++b) {
      sizes.queries.insert(drawn.queries.length(b));
      sizes.keys.insert(drawn.keys.length(b));
      sizes.lengths.emplace(drawn.queries.length(b), drawn.keys.length(b));
    }
    sizes.dims.insert(drawn.dim);
    sizes.value_dims.insert(drawn.value_dim);
    sizes.heads.insert(drawn.heads);
  }
  return sizes;
}

TEST(List, QuickTierMeetsEveryLengthAndDimOfTheMuseum) {
  const Sizes sizes = sizes_in("quick");
  EXPECT_GE(sizes.queries.size(), 23U);
  EXPECT_GE(sizes.keys.size(), 23U);
  EXPECT_GE(sizes.dims.size(), 20U);
  EXPECT_GE(sizes.value_dims.size(), 20U);
  for (const std::int64_t heads : {1, 2, 7, 8, 12, 28}) EXPECT_TRUE(sizes.heads.count(heads));
}

TEST(List, FullTierMeetsEveryTwoLengthsOfTheMuseum) {
  EXPECT_GE(sizes_in("full").lengths.size(), kMuseumPairs);
}

TEST(List, EverySeriesOfTheMuseumHasEveryTwoLengths) {
  std::set<std::pair<std::int64_t, std::int64_t>> lengths;
  for (std::uint64_t seed = 1000; seed < 1000 + kMuseumPairs; ++seed) {
    const Case drawn = draw_museum_case(seed);
    const std::int64_t b = drawn.batch > 1 ? 1 : 0;
    lengths.emplace(drawn.queries.length(b), drawn.keys.length(b));
  }
  EXPECT_EQ(lengths.size(), kMuseumPairs);
}

// Statistics of a tensor's numbers, none of which may be NaN.
struct Spread {
  double mean = 0, deviation = 0, largest = 0;
};

Spread spread_of(const Field& field) {
  double count = 0, sum = 0, squares = 0, largest = 0;
  for_each_element(field, [&](const Index& at) {
    const double value = field.read(at);
    count += 1;
    sum += value;
    squares += value * value;
    largest = std::max(largest, std::fabs(value));
  });
  const double mean = sum / count;
  return {mean, std::sqrt(std::max(0.0, squares / count - mean * mean)), largest};
}

Case sample(Family family, tw_dtype dtype) {
  Case drawn = plain_case(
      6, {.batch = 1, .queries = 60, .keys = 200, .heads = 2, .dim = 32, .value_dim = 20}, {});
  set_dtype(drawn, dtype);
  drawn.dtypes.output = dtype;
  drawn.dtypes.has_scaling = false;
  set_family(drawn, family);
  return drawn;
}

TEST(Families, NoneDrawsZeros) {
  for (const Family family : kFamilies) {
    for (const tw_dtype dtype : kDtypes) {
      const auto setup = make_setup(sample(family, dtype));
      const std::string where = std::string(name_of(family)) + ' ' + name_of(dtype);
      EXPECT_GT(spread_of(setup.query).deviation, 0.2) << where;
      EXPECT_GT(spread_of(setup.key).deviation, 0.2) << where;
      EXPECT_GT(spread_of(setup.value).largest, 1e-6) << where;
      EXPECT_GT(spread_of(setup.gradients.output).deviation, 1e-4) << where;
    }
  }
}

TEST(Families, AreWhatTheirNamesSay) {
  const auto values = [](Family family) {
    return spread_of(make_setup(sample(family, TW_FLOAT32)).value);
  };
  EXPECT_NEAR(values(Family::kGauss).deviation, 1, 0.05);
  EXPECT_NEAR(values(Family::kLarge).deviation, 1e3, 50);
  EXPECT_NEAR(values(Family::kSmall).deviation, 1e-5, 5e-7);
  EXPECT_EQ(values(Family::kOnes).mean, 1);
  EXPECT_EQ(values(Family::kOnes).deviation, 0);
  EXPECT_GT(values(Family::kOutlier).largest, 8);
  EXPECT_NEAR(spread_of(make_setup(sample(Family::kPeaky, TW_FLOAT32)).query).deviation, 8, 0.5);
}

// A row's scores: the largest and its key, its distance to the second, the mean, how many keys are
// visible, and the first of them.
struct RowScores {
  double best = -std::numeric_limits<double>::infinity(), gap = 0, mean = 0;
  std::int64_t seen = 0, first = -1, best_at = -1;
};

RowScores scores_of(const Trial& trial, std::int64_t i) {
  RowScores row;
  double second = -std::numeric_limits<double>::infinity();
  const Setup& setup = trial.setup;
  for (std::int64_t j = 0; j < trial.drawn.keys.length(0); ++j) {
    const Field& visible = setup.scores.visible;
    if (!visible.absent() && visible.read(broadcast_index(visible, {0, 0, i, j})) == 0) continue;
    double score = 0;
    for (std::int64_t d = 0; d < trial.drawn.dim; ++d) {
      score += setup.query.read({0, i, 0, d}) * setup.key.read({0, j, 0, d});
    }
    score /= std::sqrt(static_cast<double>(trial.drawn.dim));
    if (row.seen++ == 0) row.first = j;
    row.mean += score;
    second = std::max(second, std::min(score, row.best));
    if (score > row.best) row.best_at = j;
    row.best = std::max(row.best, score);
  }
  row.mean /= static_cast<double>(row.seen);
  row.gap = row.best - second;
  return row;
}

TEST(Families, MakeScoresHard) {
  for (std::int64_t i = 0; i < 60; ++i) {
    const Trial needle(sample(Family::kNeedle, TW_FLOAT32));
    const RowScores sharp = scores_of(needle, i);
    EXPECT_GT(sharp.gap / std::log(2.0), 150) << i;
    EXPECT_EQ(sharp.best_at, needle_of(needle.drawn, 0, i)) << i;
    EXPECT_EQ(scores_of(Trial(sample(Family::kHub, TW_FLOAT32)), i).gap, 0) << i;
    const RowScores lonely = scores_of(Trial(sample(Family::kLonely, TW_FLOAT32)), i);
    EXPECT_EQ(lonely.seen, 1) << i;
    EXPECT_GE(lonely.first, 200 - 16) << i;
    EXPECT_EQ(scores_of(Trial(sample(Family::kLate, TW_FLOAT32)), i).first, 128) << i;
  }
}

TEST(Families, ShiftMovesEveryScoreByWhatItSays) {
  constexpr double kShifts[] = {128, 1e4, 1e5};
  for (const tw_dtype dtype : {TW_FLOAT32, TW_FLOAT16, TW_BFLOAT16}) {
    for (std::uint64_t seed = 6; seed < 9; ++seed) {
      Case drawn = sample(Family::kGauss, dtype);
      drawn.seed = seed;
      drawn.scores.has_scale = true;  // of zero: the family takes it away
      drawn.scores.softcap = 2;
      set_family(drawn, Family::kShift);
      EXPECT_EQ(drawn.scores.softcap, 0);
      const double shift = kShifts[seed % 3];
      EXPECT_NEAR(scores_of(Trial(drawn), 5).mean, -shift, 0.01 * shift + 3) << name_of(dtype);
    }
  }
}

// A long case must have needles at its first and last key and, from number 16 on, in every tile of
// 64 keys; before, at every place within a tile.
TEST(Families, NeedlesSweepTilesAndEnds) {
  for (std::uint64_t number = 0; number < kLongCases; ++number) {
    Case drawn = draw_long_case(number);
    set_family(drawn, Family::kNeedle);
    std::set<std::int64_t> places, residues, tiles;
    for (std::int64_t i = 0; i < drawn.queries.length(0); ++i) {
      const std::int64_t place = needle_of(drawn, 0, i);
      places.insert(place);
      residues.insert(place % 64);
      tiles.insert(place / 64);
    }
    EXPECT_EQ(places.size(), static_cast<std::size_t>(drawn.queries.length(0))) << number;
    if (number >= 16) {
      EXPECT_EQ(tiles.size(), static_cast<std::size_t>((drawn.keys.length(0) + 63) / 64)) << number;
    } else {
      EXPECT_EQ(residues.size(), 64U) << number;
    }
    EXPECT_TRUE(places.count(0) == 1 && places.count(drawn.keys.length(0) - 1) == 1) << number;
  }
}

}  // namespace
}  // namespace tilewise::conformance
