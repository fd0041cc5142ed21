// tw_rotary over random layouts and tables, against the oracle.
#include "oracle/rotary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "conformance/call.h"
#include "conformance/device.h"
#include "conformance/rotation.h"
#include "conformance/untouched.h"

namespace tilewise::conformance {
namespace {

constexpr std::int64_t kMostRows = 200;

struct Turn {
  bool fixed = false, inverse = false;
  std::vector<std::int64_t> positions;  // one a sequence; empty: 0
};

Turn draw_turn(std::int64_t batch, oracle::Random& random) {
  Turn turn{.fixed = random.chance(0.3), .inverse = random.chance(0.5), .positions = {}};
  const bool has_positions = random.chance(0.6);
  for (std::int64_t b = 0; b < batch && has_positions; ++b) {
    turn.positions.push_back(random.integer(0, 30));
  }
  return turn;
}

void compare_turned(const Case& drawn, const Setup& setup, const Tables& tables, const Turn& turn,
                    Report& report) {
  const tw_dtype dtype = drawn.dtypes.output;
  const double arithmetic = dtype == TW_FLOAT64 ? 0x1p-50 : 0x1p-21;
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    const std::int64_t length = drawn.queries.length(b);
    const std::int64_t first =
        turn.positions.empty() ? 0 : turn.positions[static_cast<std::size_t>(b)];
    std::vector<std::int64_t> positions;
    oracle::Tensor rows({length, drawn.heads, drawn.dim});
    for (std::int64_t t = 0; t < length; ++t) {
      positions.push_back(turn.fixed ? first : first + t);
      for (std::int64_t h = 0; h < drawn.heads; ++h) {
        for (std::int64_t d = 0; d < drawn.dim; ++d) {
          rows.at(t, h, d) = setup.query.read(row_index(drawn.queries, b, t, h, d));
        }
      }
    }
    oracle::Rotation rotation = tables.oracle();
    rotation.inverse = turn.inverse;
    const oracle::Tensor want = oracle::rotate(rows, rotation, positions);
    for (std::int64_t t = 0; t < length; ++t) {
      for (std::int64_t h = 0; h < drawn.heads; ++h) {
        for (std::int64_t d = 0; d < drawn.dim; ++d) {
          const double got = setup.output.read(row_index(drawn.queries, b, t, h, d));
          report.add(Part::kRotated, {b, t, h, d},
                     {got, want.at(t, h, d), arithmetic, rounding_of(dtype, want.at(t, h, d))});
        }
      }
    }
  }
}

TEST(Rotary, MatchesTheOracleInRandomLayouts) {
  constexpr tw_dtype kDtypes[] = {TW_FLOAT64, TW_FLOAT32, TW_BFLOAT16, TW_FLOAT16};
  std::int64_t compared = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    oracle::Random random(seed);
    Case drawn = draw_case(seed);
    drawn.dim = drawn.value_dim = std::max<std::int64_t>(2, drawn.dim);
    drawn.dtypes.input = kDtypes[seed % 4];
    drawn.dtypes.output = drawn.dtypes.input;
    auto setup = make_setup(drawn);
    own_outputs(drawn, setup);
    Request structs(drawn, setup);
    const Turn turn = draw_turn(drawn.batch, random);
    const Tables tables(drawn.dim, kMostRows, random);
    Field positions;
    if (!turn.positions.empty()) positions = Field::dense(TW_INT32, {drawn.batch});
    for (std::size_t b = 0; b < turn.positions.size(); ++b) {
      positions.write({static_cast<std::int64_t>(b)}, static_cast<double>(turn.positions[b]));
    }

    tw_rotary_request request{};
    request.size = sizeof request;
    request.input = setup.query.view();
    request.output = setup.output.view();
    const tw_rotation rotation = tables.view();
    request.rotation = &rotation;
    request.sequences = structs.options.queries;
    request.positions = positions.view();
    request.fixed = turn.fixed ? 1 : 0;
    request.inverse = turn.inverse ? 1 : 0;
    char message[1024] = "";
    ASSERT_EQ(tw_rotary(&request, &structs.execution, message, sizeof message), TW_OK)
        << drawn.describe() << "\n  " << message;
    wait_for_device();
    Report report;
    compare_turned(drawn, setup, tables, turn, report);
    check_untouched({{"output", &setup.output}}, setup, report);
    EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
    compared += report.compared();
  }
  EXPECT_GT(compared, 10000);
}

}  // namespace
}  // namespace tilewise::conformance
