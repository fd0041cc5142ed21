#include "conformance/featured.h"

#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

void ask(Case& drawn, int feature, oracle::Random& random) {
  switch (feature) {
    case 0:
      drawn.scores.has_scale = true;
      drawn.scores.scale = -0.2;
      break;
    case 1:
      drawn.scores.softcap = random.chance(0.5) ? 0.7 : 20;
      break;
    case 2:
      drawn.scores.has_slopes = true;
      break;
    case 3:
      drawn.scores.has_bias = true;
      drawn.scores.bias_dtype = drawn.dtypes.input;
      drawn.scores.bias_broadcast = {true, random.chance(0.3), random.chance(0.3), false};
      break;
    case 4:
      drawn.mask.has_visible = true;
      drawn.mask.visible_broadcast = {true, random.chance(0.5), random.chance(0.5), false};
      break;
    case 5:
      drawn.mask.has_blocks = true;
      drawn.mask.block_query = 32 * random.integer(1, 5);
      drawn.mask.block_key = 64 * random.integer(1, 2);
      break;
    default:
      drawn.dropout.probability = 0.3;
  }
}

}  // namespace

Case featured_case(int one, int other) {
  constexpr std::int64_t kDims[] = {32, 64, 96, 128, 192, 256};
  const int pair = one * kFeatureCount + other;
  const auto seed = static_cast<std::uint64_t>(pair) + 1;
  oracle::Random random(seed);
  const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
  const std::int64_t dim = kDims[seed % 6];
  Case drawn = plain_case(seed,
                          {.batch = 1,
                           .queries = random.integer(dim <= 128 ? 130 : 70, 150),
                           .keys = 16 * random.integer(5, 11),
                           .heads = 2,
                           .key_heads = 1,
                           .dim = dim,
                           .value_dim = dim},
                          {.input = dtype, .output = dtype, .lse = TW_FLOAT32});
  ask(drawn, one, random);
  ask(drawn, other, random);
  if (random.chance(0.5)) drawn.mask.band.right = random.integer(-3, 5);
  if (random.chance(0.3)) drawn.mask.band.left = random.integer(0, 100);
  drawn.scores.has_sinks = random.chance(0.3);
  return drawn;
}

}  // namespace tilewise::conformance
