// Runs one case's calls in the order in which a user would make them.
#include "conformance/check.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "conformance/call.h"
#include "conformance/expected.h"
#include "conformance/setup.h"

namespace tilewise::conformance {
namespace {

bool make_call(Request& request, tw_operation operation, Report& report) {
  constexpr const char* kNames[] = {"forward", "backward", "probabilities"};
  const Outcome outcome = request.run(operation);
  if (outcome.status == TW_OK) return true;
  report.fail(std::string(kNames[operation]) + " ended with status " +
              std::to_string(outcome.status) + ": " + outcome.message);
  return false;
}

// Whether lse is asked for changes no bit of output.
void check_without_lse(Setup& setup, Request& request, Report& report) {
  const std::vector<unsigned char> with_lse = setup.output.bytes();
  setup.output.restore();
  const tw_tensor lse = std::exchange(request.request.lse, tw_tensor{});
  if (make_call(request, TW_FORWARD, report) && setup.output.bytes() != with_lse) {
    report.fail("output differs when lse is not asked for");
  }
  request.request.lse = lse;
}

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
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

Draws draws(std::uint64_t first, std::uint64_t usual) {
  if (std::getenv("TILEWISE_SEED") != nullptr) return {number_from("TILEWISE_SEED", 0), 1, true};
  return {first, number_from("TILEWISE_CASES", usual), false};
}

}  // namespace tilewise::conformance
