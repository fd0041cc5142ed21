// Backward for tensor cores with a call's features compiled in, against the oracle.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "environment.h"
#include "sm80_backward_cases.h"

namespace tilewise {
namespace {

using conformance::Trial;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// Features alone and in pairs.
struct Asking {
  const char* words;
  void (*ask)(Case&);
};
const Asking kAskings[] = {{"softcap", [](Case& c) { c.scores.softcap = 1.5; }},
                           {"ALiBi", [](Case& c) { c.scores.has_slopes = true; }},
                           {"bias",
                            [](Case& c) {
                              c.scores.has_bias = true;
                              c.scores.bias_dtype = c.dtypes.input;
                            }},
                           {"boolean mask", [](Case& c) { c.mask.has_visible = true; }},
                           {"block mask",
                            [](Case& c) {
                              c.mask.has_blocks = true;
                              c.mask.block_query = 32;
                              c.mask.block_key = 64;
                            }},
                           {"dropout", [](Case& c) { c.dropout.probability = 0.25; }}};

// Several tiles of both sides, the last ones ragged. All rows are whole pieces of 16 bytes.
Case featured_dims(std::uint64_t seed, std::int64_t dim) {
  Case drawn = dims_case(seed, dim, dim);
  drawn.keys = conformance::dense_side(1, 176);
  if (seed % 2 == 0) drawn.mask.band.right = 20;
  drawn.gradients.deterministic = seed % 3 == 0;
  return drawn;
}

TEST(Sm80BackwardFeatured, EveryFeatureCompiledIn) {
  std::uint64_t seed = 1;
  for (const Asking& each : kAskings) {
    for (const std::int64_t dim : {128, 256}) {
      Case drawn = featured_dims(seed++, dim);
      if (dim == 256) drawn.queries = conformance::dense_side(1, 70);
      each.ask(drawn);
      EXPECT_EQ(kernel_of(drawn), "featured " + std::to_string(dim) + ": " + each.words);
      expect_good(drawn);
    }
  }
}

TEST(Sm80BackwardFeatured, PairsOfFeaturesCompiledIn) {
  std::uint64_t seed = 1;
  for (const Asking& first : kAskings) {
    for (const Asking& second : kAskings) {
      if (&second <= &first) continue;
      Case drawn = featured_dims(seed++, 64);
      first.ask(drawn);
      second.ask(drawn);
      EXPECT_EQ(kernel_of(drawn), std::string("featured 64: ") + first.words + ", " + second.words);
      expect_good(drawn);
    }
  }
}

// More tiles of queries than the 32 that a warp tests at once; most are hidden, in most steps all.
TEST(Sm80BackwardFeatured, FewBlocksOfMany) {
  for (const bool deterministic : {false, true}) {
    Case drawn = featured_dims(5, 16);
    drawn.queries = conformance::dense_side(1, 64 * 70 + 9);
    drawn.keys = conformance::dense_side(1, 448);
    drawn.mask.has_blocks = true;
    drawn.mask.block_query = drawn.mask.block_key = 64;
    drawn.mask.share_of_blocks = 0.03;
    drawn.gradients.deterministic = deterministic;
    EXPECT_EQ(kernel_of(drawn).substr(0, 23), "featured 64: block mask");
    expect_good(drawn);
  }
}

TEST(Sm80BackwardFeatured, GradientOfABiasAloneCompiledIn) {
  Case drawn = featured_dims(1, 64);
  drawn.scores.has_bias = drawn.gradients.bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  EXPECT_EQ(kernel_of(drawn), "featured 64: bias, the bias's gradient");
  expect_good(drawn);
}

// With a bias for each sequence, head and query, and with one that is broadcast along one of these.
TEST(Sm80BackwardFeatured, GradientsOfBiasAndSlopesCompiledIn) {
  constexpr int kNone = -1;
  for (const std::int64_t dim : {64, 128, 256}) {
    for (const int broadcast : {kNone, 0, 1, 2}) {
      if (broadcast != kNone && dim != 64) continue;
      Case drawn = featured_dims(broadcast == kNone ? 1 : 2, dim);
      drawn.batch = 2;
      drawn.queries = conformance::dense_side(2, 131);
      drawn.keys = conformance::dense_side(2, 176);
      drawn.scores.has_bias = drawn.scores.has_slopes = true;
      drawn.scores.bias_dtype = drawn.dtypes.input;
      if (broadcast != kNone)
        drawn.scores.bias_broadcast[static_cast<std::size_t>(broadcast)] = true;
      drawn.gradients.bias = drawn.gradients.slopes = drawn.gradients.bias_as_bias = true;
      EXPECT_EQ(kernel_of(drawn), "featured " + std::to_string(dim) +
                                      ": ALiBi, bias, the bias's gradient, the slopes' gradient");
      expect_good(drawn);
    }
  }
}

// Tiles of the bias's gradient in which no query sees a key get zeros.
TEST(Sm80BackwardFeatured, TilesOfABiasThatNobodySees) {
  Case drawn = featured_dims(1, 64);
  drawn.queries = drawn.keys = conformance::dense_side(1, 200);
  drawn.mask.band.right = 0;
  drawn.scores.has_bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  drawn.gradients.bias = drawn.gradients.bias_as_bias = true;
  EXPECT_EQ(kernel_of(drawn), "featured 64: bias, the bias's gradient");
  expect_good(drawn);
}

TEST(Sm80BackwardFeatured, SoftcapFarAboveScores) {
  Case drawn = featured_dims(1, 128);
  drawn.scores.softcap = 40;
  EXPECT_EQ(kernel_of(drawn), "featured 128: softcap");
  expect_good(drawn);
}

// 2 * scale / softcap is so large that its powers, which the polynomial for scores far below the
// cap takes, overflow float32. Queries of zeros have such scores all the same.
TEST(Sm80BackwardFeatured, SoftcapFarBelowScores) {
  Case drawn = featured_dims(1, 64);
  drawn.scores.softcap = 1e-3;
  drawn.scores.has_scale = true;
  drawn.scores.scale = 150;
  EXPECT_EQ(kernel_of(drawn), "featured 64: softcap");
  expect_good(drawn, [](conformance::Setup& setup) {
    for_each_element(setup.query, [&](const conformance::Index& at) {
      if (at[1] < 64) setup.query.write(at, 0);
    });
  });
}

// If tiles would make a bias much larger, no kernel with features serves: a single row for all
// queries would become 64 rows.
TEST(Sm80BackwardFeatured, TilesOfABiasStayNearOneCopy) {
  Case drawn = featured_dims(1, 64);
  drawn.queries = conformance::dense_side(1, 16);
  drawn.keys = conformance::dense_side(1, 65536);
  drawn.scores.has_bias = drawn.gradients.bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  drawn.scores.bias_broadcast[2] = true;
  EXPECT_EQ(kernel_of(drawn).find("featured"), std::string::npos) << kernel_of(drawn);
  // With 64 keys half of each tile would be empty. Kernels for wider heads, whose tiles would be
  // full, do not serve either.
  drawn.queries = conformance::dense_side(1, 60000);
  drawn.keys = conformance::dense_side(1, 64);
  drawn.scores.bias_broadcast[2] = false;
  EXPECT_EQ(kernel_of(drawn).find("featured"), std::string::npos) << kernel_of(drawn);
}

// A mask for padding: all queries see the same keys.
TEST(Sm80BackwardFeatured, RowsOfAMaskThatAreAlike) {
  for (const std::int64_t dim : {64, 256}) {
    Case drawn = featured_dims(1, dim);
    drawn.mask.has_visible = true;
    drawn.mask.visible_broadcast = {false, true, true, false};
    EXPECT_EQ(kernel_of(drawn), "featured " + std::to_string(dim) + ": boolean mask");
    expect_good(drawn);
    drawn.keys = conformance::dense_side(1, 304);
    expect_good(drawn, [](conformance::Setup& setup) {
      for_each_element(setup.scores.visible, [&](const conformance::Index& at) {
        if (at[3] >= 100) setup.scores.visible.write(at, 0);
      });
    });
  }
}

TEST(Sm80BackwardFeatured, CompiledInIsNotWhatLiesAnyhow) {
  const auto kernel = [](std::int64_t keys, void (*ask)(Case&)) {
    Case drawn = dims_case(1, 64, 64);
    drawn.keys = conformance::dense_side(1, keys);
    ask(drawn);
    return kernel_of(drawn);
  };
  const auto with_bias = [](Case& c) {
    c.scores.has_bias = true;
    c.scores.bias_dtype = c.dtypes.input;
  };
  EXPECT_EQ(kernel(168, with_bias), "featured 64: bias");
  EXPECT_EQ(kernel(165, with_bias), "general 64");
  EXPECT_EQ(kernel(168,
                   [](Case& c) {
                     c.scores.has_bias = true;
                     c.scores.bias_dtype = TW_FLOAT32;
                   }),
            "general 64");
  EXPECT_EQ(kernel(168,
                   [](Case& c) {
                     c.scores.softcap = 2;
                     c.scores.has_slopes = c.gradients.slopes = true;
                   }),
            "general 64");
  EXPECT_EQ(kernel(168,
                   [](Case& c) {
                     c.mask.has_blocks = true;
                     c.mask.block_query = c.mask.block_key = 48;
                   }),
            "masked 64");
}

// Products that overflow, and a bias and distances beyond all numbers the other way, make no NaN.
TEST(Sm80BackwardFeatured, ScoresThatOverflowBothWays) {
  for (const double slope : {3e38, -3e38}) {
    Case drawn = conformance::plain_case(7, {.queries = 40, .keys = 48, .dim = 64, .value_dim = 64},
                                         dtypes_of(TW_BFLOAT16));
    drawn.scores.has_slopes = drawn.scores.has_bias = true;
    drawn.scores.bias_dtype = TW_BFLOAT16;
    drawn.gradients.slopes = drawn.gradients.bias = true;
    EXPECT_EQ(kernel_of(drawn),
              "featured 64: ALiBi, bias, the bias's gradient, the slopes' gradient");
    Trial trial(drawn);
    for (std::int64_t i = 0; i < 40; ++i) trial.setup.query.write({0, i, 0, 0}, 2e19);
    for (std::int64_t j = 0; j < 48; ++j)
      trial.setup.key.write({0, j, 0, 0}, j % 3 == 0 ? 2e19 : j % 3 == 1 ? -2e19 : 0);
    trial.setup.scores.slopes.write({0}, slope);
    for_each_element(trial.setup.scores.bias, [&](const conformance::Index& at) {
      trial.setup.scores.bias.write(at, at[3] % 2 == 0 ? 3e38 : -3e38);
    });
    trial.forward();
    trial.backward();
    const auto& gradients = trial.setup.gradients;
    for (const auto* field : {&gradients.query, &gradients.key, &gradients.value, &gradients.bias})
      for_each_element(*field, [&](const conformance::Index& at) {
        ASSERT_TRUE(std::isfinite(field->read(at)));
      });
  }
}

}  // namespace
}  // namespace tilewise
