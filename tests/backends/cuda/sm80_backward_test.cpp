// Every variant of backward for tensor cores, on small ragged calls, against the oracle.
#include <gtest/gtest.h>

#include <string>

#include "backends/cuda/sm80_backward.h"
#include "conformance/check.h"
#include "conformance/compare.h"
#include "conformance/expected.h"
#include "conformance/trial.h"
#include "conformance/untouched.h"
#include "conformance/values.h"
#include "emulated_backend.h"
#include "environment.h"
#include "oracle/random.h"
#include "sanitizers.h"

namespace tilewise {
namespace {

using conformance::Case;
using conformance::Expected;
using conformance::PlainSizes;
using conformance::Report;
using conformance::Request;
using conformance::Setup;
using conformance::Trial;
using oracle::Random;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// What a sanitizer watches takes ten times as long.
constexpr std::uint64_t kMuch = TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER ? 1 : 8;

// A device whose blocks have so much memory, for as long as this lives.
struct SharedKib {
  explicit SharedKib(int kib) { set_emulated_shared_kib(kib); }
  ~SharedKib() { set_emulated_shared_kib(227); }
  SharedKib(const SharedKib&) = delete;
  SharedKib& operator=(const SharedKib&) = delete;
};

bool make_call(Request& request, tw_operation operation, Report& report) {
  const conformance::Outcome outcome = request.run(operation);
  if (outcome.status != TW_OK) report.fail(outcome.message);
  return outcome.status == TW_OK;
}

// Forward and backward; backward by tensor cores.
Report check_backward(const Case& drawn) {
  Report report;
  Setup setup = make_setup(drawn);
  own_outputs(drawn, setup);
  Expected expected = expect_forward(drawn, setup);
  Request request(drawn, setup);
  if (!make_call(request, TW_FORWARD, report)) return report;
  const std::int64_t before = emulated_fast_launches();
  if (!make_call(request, TW_BACKWARD, report)) return report;
  EXPECT_GE(emulated_fast_launches(), before + 3) << drawn.describe();
  expect_gradients(drawn, setup, expected);
  compare_gradients(drawn, setup, expected, report);
  check_untouched(setup.gradient_outputs(), setup, report);
  return report;
}

void expect_good(const Case& drawn) {
  const Report report = check_backward(drawn);
  EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
}

conformance::DtypeCase dtypes_of(tw_dtype dtype) {
  return {.input = dtype, .output = dtype, .lse = TW_FLOAT32};
}

tw_dtype dtype_of(std::uint64_t seed) {
  return seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
}

// Several tiles of both sides, the last ones ragged, two heads to a key head.
Case dims_case(std::uint64_t seed, std::int64_t dim, std::int64_t value_dim) {
  const PlainSizes sizes{.queries = 131,
                         .keys = 150,
                         .heads = 2,
                         .key_heads = 1,
                         .dim = dim,
                         .value_dim = value_dim};
  return conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
}

TEST(Sm80Backward, EveryCommonShape) {
  for (const int kib : {99, 227}) {
    const SharedKib device(kib);
    for (const std::uint64_t seed : {1, 2}) {
      for (const std::int64_t dim : {64, 96, 128, 256}) {
        Case drawn = dims_case(seed, dim, dim == 96 ? 72 : dim);
        if (seed == 1) drawn.mask.band.right = 0;
        drawn.gradients.deterministic = (dim == 96) == (seed == 1);
        drawn.gradients.has_lse = seed == 1;
        expect_good(drawn);
      }
    }
  }
}

// All features and layouts, in lengths of several tiles, and any of the gradients.
Case featured_case(std::uint64_t seed) {
  Case drawn = conformance::draw_case(seed);
  Random random(seed * 2 + 9);
  const Case features = drawn;
  if (random.chance(0.5) || drawn.keys.storage == conformance::Storage::kPaged) {
    const PlainSizes sizes{.batch = random.integer(1, 2),
                           .queries = random.integer(1, 200),
                           .keys = random.integer(1, 200),
                           .heads = 4,
                           .key_heads = random.integer(1, 2)};
    drawn = conformance::plain_case(seed, sizes, {});
    drawn.mask = features.mask;
    drawn.scores = features.scores;
    drawn.dropout = features.dropout;
    drawn.gradients = features.gradients;
    drawn.gradients.key = drawn.gradients.value = true;
    drawn.run.is_scattered = random.chance(0.5);
  }
  drawn.dim = random.integer(1, random.chance(0.2) ? 256 : 70);
  drawn.value_dim = random.chance(0.6) ? drawn.dim : random.integer(1, 70);
  drawn.run.keeps_pieces = random.chance(0.5);
  if (drawn.run.keeps_pieces) {
    drawn.dim = (drawn.dim + 7) / 8 * 8;
    drawn.value_dim = (drawn.value_dim + 7) / 8 * 8;
  }
  drawn.dtypes = dtypes_of(dtype_of(seed));
  // Draws begin at whole ones, and sums of a bias's gradient come in any order: the rest is for the
  // plain kernels.
  drawn.dropout.base[2] &= ~std::int64_t{15};
  drawn.dropout.base[3] &= ~std::int64_t{31};
  if (drawn.scores.has_bias) drawn.gradients.deterministic = false;
  return drawn;
}

TEST(Sm80Backward, RandomFeaturesStayWithinTheBound) {
  for (std::uint64_t seed = 1; seed <= 15 * kMuch; ++seed) expect_good(featured_case(seed));
}

}  // namespace
}  // namespace tilewise
