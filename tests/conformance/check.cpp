// Runs one case's calls: forward, then probabilities, then backward.
#include "conformance/check.h"

#include <algorithm>
#include <cmath>
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

// Checks that output has the same bits without lse.
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

// The tolerance for dK and dV of a key that is no query's needle: its weights are 2^-150 or less.
constexpr double kNothing = 0x1p-100;

// One query of a needle case, its key, and that key's score.
struct Needle {
  std::int64_t query = 0, key = 0;
  double score = 0, magnitude = 0;  // magnitude: the sum of |dO v| over the columns
};

Needle find_needle(const Case& drawn, const Setup& setup, std::int64_t query) {
  Needle needle{.query = query, .key = needle_of(drawn, 0, query)};
  for (std::int64_t d = 0; d < drawn.dim; ++d) {
    needle.score += setup.query.read(row_index(drawn.queries, 0, query, 0, d)) *
                    setup.key.read(row_index(drawn.keys, 0, needle.key, 0, d));
  }
  needle.score /= std::sqrt(static_cast<double>(drawn.dim));
  for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
    needle.magnitude +=
        std::fabs(setup.gradients.output.read(row_index(drawn.queries, 0, query, 0, d)) *
                  setup.value.read(row_index(drawn.keys, 0, needle.key, 0, d)));
  }
  return needle;
}

void compare_row(const Case& drawn, const Setup& setup, const Needle& needle, Report& report) {
  const Precision precision = precision_of(drawn.dtypes.input, drawn.dtypes.output);
  const std::int64_t i = needle.query;
  for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
    report.add(Part::kOutput, {0, i, 0, d},
               {setup.output.read(row_index(drawn.queries, 0, i, 0, d)),
                setup.value.read(row_index(drawn.keys, 0, needle.key, 0, d))});
  }
  const double lse_error =
      (precision.product(drawn.dim) + 4 * precision.arithmetic) * std::fabs(needle.score);
  report.add(Part::kLse, {0, 0, i},
             {setup.lse.read(lse_index(drawn.queries, 0, 0, i)), needle.score, lse_error});
  // dP and delta are two sums of the same products, whose errors differ.
  const double gradient_error = 2 * precision.product(drawn.value_dim) * needle.magnitude;
  for (std::int64_t d = 0; d < drawn.dim; ++d) {
    report.add(Part::kQueryGradient, {0, i, 0, d},
               {setup.gradients.query.read(row_index(drawn.queries, 0, i, 0, d)), 0,
                gradient_error + precision.floor});
  }
}

void compare_keys(const Case& drawn, const Setup& setup, const std::vector<Needle>& needles,
                  Report& report) {
  const Precision precision = precision_of(drawn.dtypes.input, drawn.dtypes.output);
  const auto keys = static_cast<std::size_t>(drawn.keys.length(0));
  std::vector<const Needle*> by_key(keys);
  for (const Needle& each : needles) by_key[static_cast<std::size_t>(each.key)] = &each;
  for (std::size_t key = 0; key < keys; ++key) {
    const auto j = static_cast<std::int64_t>(key);
    const Needle* needle = by_key[key];
    for (std::int64_t d = 0; d < drawn.value_dim; ++d) {
      const double want =
          needle == nullptr
              ? 0
              : setup.gradients.output.read(row_index(drawn.queries, 0, needle->query, 0, d));
      report.add(Part::kValueGradient, {0, j, 0, d},
                 {setup.gradients.value.read(row_index(drawn.keys, 0, j, 0, d)), want,
                  want == 0 ? kNothing : 0});
    }
    for (std::int64_t d = 0; d < drawn.dim; ++d) {
      const double query = needle == nullptr
                               ? 0
                               : setup.query.read(row_index(drawn.queries, 0, needle->query, 0, d));
      const double error = needle == nullptr ? kNothing
                                             : 2 * precision.product(drawn.value_dim) *
                                                       needle->magnitude * std::fabs(query) +
                                                   precision.floor;
      report.add(Part::kKeyGradient, {0, j, 0, d},
                 {setup.gradients.key.read(row_index(drawn.keys, 0, j, 0, d)), 0, error});
    }
  }
}

}  // namespace

Report check_forward(const Case& drawn) {
  Report report;
  Setup setup = make_setup(drawn);
  own_outputs(drawn, setup);
  const Expected expected = expect_forward(drawn, setup);
  Request request(drawn, setup);
  if (!make_call(request, TW_FORWARD, report)) return report;
  compare_forward(drawn, setup, expected, report);
  check_untouched({{"output", &setup.output}, {"lse", &setup.lse}}, setup, report);
  check_without_lse(setup, request, report);
  return report;
}

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
  std::vector<Needle> needles;
  for (std::int64_t i = 0; i < drawn.queries.length(0); ++i) {
    needles.push_back(find_needle(drawn, setup, i));
    compare_row(drawn, setup, needles.back(), report);
  }
  compare_keys(drawn, setup, needles, report);
  check_untouched({{"output", &setup.output}, {"lse", &setup.lse}}, setup, report);
  check_untouched(setup.gradient_outputs(), setup, report);
  return report;
}

}  // namespace tilewise::conformance
