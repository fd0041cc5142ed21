// Every variant of the kernels for tensor cores, on small ragged calls, against the oracle.
// conformance/aligned_test.cpp has the calls without features, which this program runs, too.
#include <gtest/gtest.h>

#include "backends/cuda/kernels/sm80/launch.h"
#include "conformance/check.h"
#include "conformance/trial.h"
#include "emulated_backend.h"
#include "environment.h"
#include "oracle/random.h"
#include "sanitizers.h"

namespace tilewise {
namespace {

using conformance::Case;
using conformance::PlainSizes;
using conformance::Report;
using conformance::Storage;
using oracle::Random;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// What a sanitizer watches takes ten times as long.
constexpr std::uint64_t kMuch = TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER ? 1 : 10;

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

// Draws begin at whole ones: others are for the plain kernels.
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
  if (random.chance(0.5)) drawn.scores.bias_dtype = dtype;
  set_whole_draws(drawn);
  return drawn;
}

TEST(Sm80Forward, RandomFeaturesStayWithinTheBound) {
  for (std::uint64_t seed = 1; seed <= 20 * kMuch; ++seed) expect_good(featured_case(seed));
}

}  // namespace
}  // namespace tilewise
