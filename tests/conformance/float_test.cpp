// The same random combinations in float32, 16 and 8 bits, over the families that make softmax hard,
// within the bounds of docs/numerics.md.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "conformance/bound.h"
#include "conformance/call.h"
#include "conformance/check.h"

namespace tilewise::conformance {
namespace {

constexpr std::uint64_t kCases = 40;

struct Kind {
  tw_dtype dtype;
  Family family;
};

std::string family_name(Family family) {
  constexpr const char* kNames[] = {"gauss", "peaky", "shift", "needle"};
  return kNames[static_cast<int>(family)];
}

Case draw_float_case(std::uint64_t seed, const Kind& kind) {
  constexpr tw_dtype kOutputs[] = {TW_FLOAT32, TW_BFLOAT16, TW_FLOAT16};
  Case drawn = draw_case(seed);
  drawn.dtypes = {.input = kind.dtype, .output = kind.dtype, .lse = TW_FLOAT32};
  drawn.family = kind.family;
  const bool is_narrow = kind.dtype == TW_FLOAT8_E4M3 || kind.dtype == TW_FLOAT8_E5M2;
  if (is_narrow ? seed % 4 != 0 : seed % 4 == 0) drawn.dtypes.output = kOutputs[seed % 3];
  drawn.dtypes.has_scaling = is_narrow && seed % 2 == 0;
  drawn.dtypes.scaling_broadcast = {seed % 3 == 0, seed % 5 == 0};
  return drawn;
}

void compare_row(const Case& drawn, const Setup& setup, const oracle::Result& want,
                 const Bound& bound, const Index& row, Report& report) {
  const auto [b, i, h, unused] = row;
  char where[96];
  for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
    std::snprintf(where, sizeof where, "output(%d, %d, %d, %d)", static_cast<int>(b),
                  static_cast<int>(i), static_cast<int>(h), static_cast<int>(d));
    const double got = setup.output.read(row_index(drawn.queries, b, i, h, d));
    report.add(where, got, want.output.at(i, h, d), bound.output.at(i, h, d));
  }
  std::snprintf(where, sizeof where, "lse(%d, %d, %d)", static_cast<int>(b), static_cast<int>(h),
                static_cast<int>(i));
  const double got = setup.lse.read(lse_index(drawn.queries, b, h, i));
  report.add(where, got, want.lse.at(h, i), bound.lse.at(h, i));
}

Report check_float_case(const Case& drawn) {
  Report report;
  Setup setup = make_setup(drawn);
  own_outputs(drawn, setup);
  Request request(drawn, setup);
  const Outcome outcome = request.run(TW_FORWARD);
  if (outcome.status != TW_OK) {
    report.fail("forward ended with status " + std::to_string(outcome.status) + ": " +
                outcome.message);
    return report;
  }
  const Expected expected = expect_forward(drawn, setup);
  const Precision precision = precision_of(drawn.dtypes.input, drawn.dtypes.output);
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const auto at = static_cast<std::size_t>(b);
    const oracle::Result& want = expected.results[at];
    const Bound bound = bound_of(expected.problems[at], want, precision);
    for (std::int64_t i = 0; i < drawn.queries.length(b); ++i) {
      for (std::int64_t h = 0; h < drawn.heads; ++h) {
        compare_row(drawn, setup, want, bound, {b, i, h, 0}, report);
      }
    }
  }
  check_untouched({{"output", &setup.output}, {"lse", &setup.lse}}, setup, report);
  return report;
}

class FloatConformance : public ::testing::TestWithParam<Kind> {};

TEST_P(FloatConformance, StaysWithinTheBound) {
  const Draws drawn = draws(100 + 1000 * static_cast<std::uint64_t>(GetParam().family), kCases);
  Report total;
  for (std::uint64_t seed = drawn.first; seed < drawn.first + drawn.count; ++seed) {
    const Case one = draw_float_case(seed, GetParam());
    const Report report = check_float_case(one);
    EXPECT_TRUE(report.ok()) << one.describe() << report.sentences();
    total.merge(report);
  }
  std::printf("%lld numbers, at worst %.2f of the bound at %s\n",
              static_cast<long long>(total.compared()), total.worst(), total.worst_where().c_str());
  EXPECT_GT(total.compared(), 0);
}

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (const tw_dtype dtype :
       {TW_FLOAT32, TW_BFLOAT16, TW_FLOAT16, TW_FLOAT8_E4M3, TW_FLOAT8_E5M2}) {
    for (const Family family : {Family::kGauss, Family::kPeaky, Family::kShift, Family::kNeedle}) {
      kinds.push_back({dtype, family});
    }
  }
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(Kinds, FloatConformance, ::testing::ValuesIn(all_kinds()),
                         [](const auto& each) {
                           return name_of(each.param.dtype) +
                                  ("_" + family_name(each.param.family));
                         });

}  // namespace
}  // namespace tilewise::conformance
