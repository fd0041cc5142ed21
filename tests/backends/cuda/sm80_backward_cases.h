// What tests of backward for tensor cores share: calls by the emulated kernels, against the oracle.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "conformance/check.h"
#include "conformance/compare.h"
#include "conformance/expected.h"
#include "conformance/trial.h"
#include "conformance/untouched.h"
#include "conformance/values.h"
#include "emulated_backend.h"
#include "tilewise/tilewise.h"

namespace tilewise {

using conformance::Case;
using conformance::Expected;
using conformance::PlainSizes;
using conformance::Report;
using conformance::Request;
using conformance::Setup;

inline bool make_call(Request& request, tw_operation operation, Report& report) {
  const conformance::Outcome outcome = request.run(operation);
  if (outcome.status != TW_OK) report.fail(outcome.message);
  return outcome.status == TW_OK;
}

// Checks forward and backward of inputs that `change` may alter. Backward must run on tensor cores.
inline Report check_backward(const Case& drawn, void (*change)(Setup&) = nullptr) {
  Report report;
  Setup setup = make_setup(drawn);
  if (change) change(setup);
  own_outputs(drawn, setup);
  Expected expected = expect_forward(drawn, setup);
  Request request(drawn, setup);
  if (!make_call(request, TW_FORWARD, report)) return report;
  compare_forward(drawn, setup, expected, report);
  const std::int64_t before = emulated_fast_launches();
  if (!make_call(request, TW_BACKWARD, report)) return report;
  EXPECT_GT(emulated_fast_launches(), before) << drawn.describe();
  expect_gradients(drawn, setup, expected);
  compare_gradients(drawn, setup, expected, report);
  if (!change) check_untouched(setup.gradient_outputs(), setup, report);
  return report;
}

inline void expect_good(const Case& drawn, void (*change)(Setup&) = nullptr) {
  const Report report = check_backward(drawn, change);
  EXPECT_TRUE(report.ok()) << drawn.describe() << report.sentences();
}

inline conformance::DtypeCase dtypes_of(tw_dtype dtype) {
  return {.input = dtype, .output = dtype, .lse = TW_FLOAT32};
}

inline tw_dtype dtype_of(std::uint64_t seed) {
  return seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
}

// What explain says of a case's backward: the variant, or why none can run it.
inline std::string kernel_of(const Case& drawn) {
  const Setup setup = make_setup(drawn);
  Request request(drawn, setup);
  request.request.output = setup.output.view();
  request.request.lse = setup.lse.view();
  request.request.gradients = &request.gradients;
  char text[2048], message[512];
  std::size_t needed = 0;
  const tw_status status = tw_explain(TW_BACKWARD, &request.request, &request.execution, TW_JSON,
                                      text, sizeof text, &needed, message, sizeof message);
  if (status != TW_OK) return message;
  const std::string all = text, mark = "\"note\": \"";
  const std::size_t begin = all.find(mark) + mark.size();
  return all.substr(begin, all.find('"', begin) - begin);
}

// Several tiles of both sides, the last ones ragged, two heads to a key head.
inline Case dims_case(std::uint64_t seed, std::int64_t dim, std::int64_t value_dim) {
  const PlainSizes sizes{
      .queries = 131, .keys = 150, .heads = 2, .key_heads = 1, .dim = dim, .value_dim = value_dim};
  return conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
}

// Rows whose lse is so large that rounding would make weights larger than 1, and where many keys
// have the largest score.
inline void make_scores_huge(Setup& setup) {
  for (std::int64_t i = 0; i < setup.query.size(1); i += 3)
    for (std::int64_t h = 0; h < setup.query.size(2); ++h)
      setup.query.write({0, i, h, 0}, i % 2 == 0 ? 192 : -96);
  for (std::int64_t j = 0; j < setup.key.size(1); ++j)
    setup.key.write({0, j, 0, 0}, j % 5 == 0 ? 128 : -64);
}

}  // namespace tilewise
