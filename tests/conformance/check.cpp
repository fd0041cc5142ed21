// Runs one case's calls in the order in which a user would make them.
#include "conformance/check.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "conformance/call.h"
#include "conformance/compare.h"
#include "conformance/expected.h"
#include "conformance/setup.h"
#include "conformance/untouched.h"
#include "conformance/values.h"

namespace tilewise::conformance {
namespace {

bool make_call(Request& request, tw_operation operation, Report& report) {
  constexpr const char* kNames[] = {"forward", "backward", "probabilities"};
  const Outcome outcome = request.run(operation);
  if (outcome.status == TW_OK) return true;
  if (outcome.status == TW_UNSUPPORTED) {
    report.decline(outcome.message);
    return false;
  }
  report.fail(std::string(kNames[operation]) + " ended with status " +
              std::to_string(outcome.status) + ": " + outcome.message);
  return false;
}

// Whether lse is asked for changes no bit of output.
void check_without_lse(Setup& setup, Request& request, Report& report) {
  const std::vector<unsigned char> with_lse(setup.output.bytes().begin(),
                                            setup.output.bytes().end());
  setup.output.restore();
  const tw_tensor lse = std::exchange(request.request.lse, tw_tensor{});
  if (make_call(request, TW_FORWARD, report) &&
      !std::equal(with_lse.begin(), with_lse.end(), setup.output.bytes().begin())) {
    report.fail("output differs when lse is not asked for");
  }
  request.request.lse = lse;
}

}  // namespace

Report check_case(const Case& drawn) {
  Report report;
  Setup setup = make_setup(drawn);
  own_outputs(drawn, setup);
  Expected expected = expect_forward(drawn, setup);
  Request request(drawn, setup);

  if (!make_call(request, TW_FORWARD, report)) return report;
  compare_forward(drawn, setup, expected, report);
  check_untouched({{"output", &setup.output}, {"lse", &setup.lse}}, setup, report);
  check_without_lse(setup, request, report);

  if (make_call(request, TW_PROBABILITIES, report)) {
    compare_probabilities(drawn, setup, expected, report);
    check_untouched({{"probabilities", &setup.probabilities}}, setup, report);
  }

  setup.output.remember();
  setup.lse.remember();
  if (!make_call(request, TW_BACKWARD, report)) return report;
  expect_gradients(drawn, setup, expected);
  compare_gradients(drawn, setup, expected, report);
  check_untouched(setup.gradient_outputs(), setup, report);
  if (!setup.output.unchanged() || !setup.lse.unchanged()) {
    report.fail("backward wrote output or lse, which it only reads");
  }
  return report;
}

Report check_needles(const Case& drawn) {
  Report report;
  Setup setup = make_setup(drawn);
  own_outputs(drawn, setup);
  Request request(drawn, setup);
  if (!make_call(request, TW_FORWARD, report)) return report;
  if (!make_call(request, TW_BACKWARD, report)) return report;

  const std::int64_t dim = drawn.value_dim;
  std::vector<double> at_values(static_cast<std::size_t>(drawn.keys.length(0) * dim));
  for (std::int64_t i = 0; i < drawn.queries.length(0); ++i) {
    const std::int64_t needle = needle_of(drawn, 0, i);
    for (std::int64_t d = 0; d < dim; ++d) {
      const Index row = row_index(drawn.queries, 0, i, 0, d);
      report.add(
          Part::kOutput, {0, i, 0, d},
          {setup.output.read(row), setup.value.read(row_index(drawn.keys, 0, needle, 0, d))});
      at_values[static_cast<std::size_t>(needle * dim + d)] += setup.gradients.output.read(row);
    }
  }
  // What a weight of 2^-150 and less leaves in float64.
  constexpr double kNothing = 0x1p-100;
  for (std::int64_t j = 0; j < drawn.keys.length(0); ++j) {
    for (std::int64_t d = 0; d < dim; ++d) {
      const double want = at_values[static_cast<std::size_t>(j * dim + d)];
      report.add(Part::kValueGradient, {0, j, 0, d},
                 {setup.gradients.value.read(row_index(drawn.keys, 0, j, 0, d)), want,
                  want == 0 ? kNothing : 0});
    }
  }
  check_untouched({{"output", &setup.output}, {"lse", &setup.lse}}, setup, report);
  check_untouched(setup.gradient_outputs(), setup, report);
  return report;
}

}  // namespace tilewise::conformance
