// Every variant of the kernels for tensor cores, on small ragged calls, against the oracle.
// conformance/aligned_test.cpp has the calls without features, which this program runs, too.
#include <gtest/gtest.h>

#include <vector>

#include "conformance/check.h"
#include "conformance/trial.h"
#include "emulated_backend.h"
#include "environment.h"
#include "oracle/random.h"
#include "sanitizers.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

using conformance::Case;
using conformance::PlainSizes;
using conformance::Report;
using conformance::Request;
using conformance::Storage;
using conformance::Trial;
using oracle::Random;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// Fewer cases under the address sanitizer, where each takes ten times as long.
constexpr std::uint64_t kMuch = TW_ADDRESS_SANITIZER ? 1 : 10;

conformance::DtypeCase dtypes_of(tw_dtype dtype) {
  return {.input = dtype, .output = dtype, .lse = TW_FLOAT32};
}

void expect_good(const Case& drawn) {
  const std::int64_t before = emulated_fast_launches();
  const Report report = check_forward(drawn);
  EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
  EXPECT_EQ(report.refusal(), "") << drawn.describe();
  EXPECT_GT(emulated_fast_launches(), before) << drawn.describe();
}

// Tensor-core kernels take dropout only if its base is a multiple of 16 rows and 32 keys.
void set_whole_draws(Case& drawn) {
  drawn.dropout.base[2] &= ~std::int64_t{15};
  drawn.dropout.base[3] &= ~std::int64_t{31};
}

// All features and layouts, in lengths of several tiles.
Case featured_case(std::uint64_t seed) {
  Case drawn = conformance::draw_case(seed);
  Random random(seed * 2 + 9);
  const Case features = drawn;
  if (random.chance(0.6)) {
    const bool is_even = random.chance(0.5);
    const PlainSizes sizes{.batch = random.integer(1, 2),
                           .queries = random.integer(1, 200),
                           .keys = is_even ? 16 * random.integer(1, 12) : random.integer(1, 200),
                           .heads = 4,
                           .key_heads = random.integer(1, 2)};
    drawn = conformance::plain_case(seed, sizes, {});
    drawn.mask = features.mask;
    drawn.scores = features.scores;
    drawn.dropout = features.dropout;
    drawn.run.is_scattered = !is_even;
  }
  drawn.dim = random.integer(1, random.chance(0.3) ? 256 : 70);
  drawn.value_dim = random.chance(0.6) ? drawn.dim : random.integer(1, 70);
  drawn.run.keeps_pieces = random.chance(0.5);
  if (drawn.run.keeps_pieces) {
    drawn.dim = (drawn.dim + 7) / 8 * 8;
    drawn.value_dim = (drawn.value_dim + 7) / 8 * 8;
  }
  const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
  drawn.dtypes = dtypes_of(dtype);
  if (random.chance(0.2)) drawn.dtypes.output = random.chance(0.5) ? TW_FLOAT32 : TW_FLOAT16;
  if (random.chance(0.5)) drawn.scores.bias_dtype = dtype;
  set_whole_draws(drawn);
  return drawn;
}

TEST(Sm80Forward, RandomFeaturesStayWithinTheBound) {
  for (std::uint64_t seed = 1; seed <= 20 * kMuch; ++seed) expect_good(featured_case(seed));
}

// Several tiles of each side, the last ones ragged, and head dims with and without padding.
TEST(Sm80Forward, EverySizeInBothVariants) {
  constexpr std::int64_t kDims[] = {16, 17, 40, 41, 64, 65, 72, 97, 128, 129, 160, 193, 256};
  for (const std::int64_t dim : kDims) {
    for (const tw_dtype dtype : {TW_FLOAT16, TW_BFLOAT16}) {
      // Without the short ones, whose few queries come below.
      const PlainSizes sizes{
          .queries = 101, .keys = 147, .heads = 2, .key_heads = 1, .dim = dim, .value_dim = dim};
      Case drawn =
          conformance::plain_case(static_cast<std::uint64_t>(dim), sizes, dtypes_of(dtype));
      if (dim % 3 == 0) drawn.mask.band.right = 0;
      expect_good(drawn);
    }
  }
}

// Few tiles of queries and many keys: splits, and the heads of a group in one tile.
TEST(Sm80Forward, SplitsAndSharedTiles) {
  for (std::uint64_t seed = 1; seed <= 4 * kMuch; ++seed) {
    Random random(seed);
    const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
    const std::int64_t group = random.integer(1, 9);
    const PlainSizes sizes{.batch = 1,
                           .queries = random.integer(1, random.chance(0.5) ? 10 : 64),
                           .keys = random.integer(256, 700),
                           .heads = group,
                           .key_heads = 1,
                           .dim = random.chance(0.5) ? 24 : 104,
                           .value_dim = random.chance(0.3) ? 37 : 40};
    Case drawn = conformance::plain_case(seed, sizes, dtypes_of(dtype));
    drawn.scores.has_sinks = random.chance(0.5);
    if (random.chance(0.3)) drawn.dropout.probability = 0.25;
    if (random.chance(0.5)) drawn.mask.band.right = 0;
    if (random.chance(0.3)) drawn.mask.band.left = random.integer(0, 300);
    if (random.chance(0.3)) set_family(drawn, conformance::Family::kPeaky);
    expect_good(drawn);
  }
}

// Pages of any size over many tiles, and blocks that leave tiles out: neighbours on the walk lie
// far apart.
TEST(Sm80Forward, PagesAndBlocksOverManyTiles) {
  for (std::uint64_t seed = 1; seed <= 3 * kMuch; ++seed) {
    Random random(seed);
    const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
    Case drawn = conformance::plain_case(seed,
                                         {.batch = 2,
                                          .queries = 1,
                                          .keys = 1,
                                          .heads = 2,
                                          .key_heads = 1,
                                          .dim = 16,
                                          .value_dim = 16},
                                         dtypes_of(dtype));
    drawn.queries = conformance::dense_side(2, random.integer(1, 150));
    drawn.keys = conformance::side_of(
        Storage::kPaged, {random.integer(0, 300), random.integer(100, 300)}, random.integer(1, 40));
    if (random.chance(0.7)) {
      drawn.mask.has_blocks = true;
      drawn.mask.block_query = 16 * random.integer(1, 5);
      drawn.mask.block_key = 16 * random.integer(1, 6);
    }
    drawn.mask.has_visible = random.chance(0.3);
    expect_good(drawn);
  }
}

// Rows of a bias and of a mask that are whole pieces of 16 bytes are loaded a tile ahead.
TEST(Sm80Forward, BiasAndMaskInPieces) {
  for (std::uint64_t seed = 1; seed <= 2 * kMuch; ++seed) {
    Random random(seed);
    const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
    const PlainSizes sizes{.batch = 1,
                           .queries = random.integer(20, 140),
                           .keys = 16 * random.integer(4, 10),
                           .heads = 2,
                           .key_heads = 1,
                           .dim = 32,
                           .value_dim = 24};
    Case drawn = conformance::plain_case(seed, sizes, dtypes_of(dtype));
    drawn.scores.has_bias = random.chance(0.6);
    drawn.scores.bias_dtype = dtype;
    drawn.scores.bias_broadcast = {true, random.chance(0.3), random.chance(0.3), false};
    drawn.mask.has_visible = !drawn.scores.has_bias || random.chance(0.5);
    drawn.mask.visible_broadcast = {true, random.chance(0.5), random.chance(0.3), false};
    expect_good(drawn);
  }
}

// Keys of a page that the cache lacks are hidden, and a bit of the error word says so.
void check_missing_page(std::int64_t queries, tw_dtype dtype) {
  constexpr std::int64_t kKeys = 96, kSize = 16, kPages = kKeys / kSize;
  Case drawn = conformance::plain_case(
      5, {.queries = queries, .keys = 1, .heads = 2, .key_heads = 1, .dim = 16, .value_dim = 16},
      dtypes_of(dtype));
  drawn.keys = conformance::side_of(Storage::kPaged, {kKeys}, kSize);
  Trial trial(drawn);
  std::uint32_t error = 0;
  const auto run = [&](std::int32_t last_page, std::int32_t used) {
    std::int32_t table[kPages];
    for (std::size_t n = 0; n < kPages; ++n)
      table[n] = static_cast<std::int32_t>(drawn.keys.places[n]);
    table[kPages - 1] = last_page;
    error = 0;
    trial.run(TW_FORWARD, [&](Request& request) {
      request.execution.device = {TW_CUDA, 0};
      request.execution.device_tables = 1;
      request.execution.error = &error;
      request.cache.page_table = dense(reinterpret_cast<float*>(table), {1, kPages});
      request.keys.used = dense(reinterpret_cast<float*>(&used), {1});
      request.cache.page_table.dtype = request.keys.used.dtype = TW_INT32;
    });
  };
  run(1 << 20, kKeys);
  EXPECT_EQ(error, TW_FAULT_TABLE);
  std::vector<double> cut;
  for (std::int64_t i = 0; i < queries; ++i) {
    cut.push_back(trial.lse(0, i, 1));
    cut.push_back(trial.output(0, i, 1, 5));
  }
  run(0, kKeys - kSize);
  EXPECT_EQ(error, 0U);
  for (std::int64_t i = 0; i < queries; ++i) {
    EXPECT_EQ(trial.lse(0, i, 1), cut[static_cast<std::size_t>(2 * i)]);
    EXPECT_EQ(trial.output(0, i, 1, 5), cut[static_cast<std::size_t>(2 * i + 1)]);
  }
}

TEST(Sm80Forward, KeysOfNoPageAreHidden) {
  check_missing_page(3, TW_BFLOAT16);
}

TEST(Sm80Forward, KeysOfNoPageAreHiddenFromManyQueries) {
  check_missing_page(70, TW_FLOAT16);
}

}  // namespace
}  // namespace tilewise
