// A call whose tensors have factors (tw_scaling), one for each sequence and key head, must agree
// with a float32 call on factor * element.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

// A kernel may keep its weights in the inputs' type, and e5m2 has two bits of mantissa.
constexpr double kWithin = 0x1p-3;

Case draw(tw_dtype dtype, std::int64_t keys = 70, std::int64_t dim = 16) {
  return plain_case(41,
                    {.batch = 2,
                     .queries = 40,
                     .keys = keys,
                     .heads = 6,
                     .key_heads = 3,
                     .dim = dim,
                     .value_dim = 8},
                    {.input = dtype, .output = TW_FLOAT32, .lse = TW_FLOAT32});
}

double largest_number(const Field& field) {
  double largest = 0;
  for_each_element(
      field, [&](const Index& at) { largest = std::max(largest, std::fabs(field.read(at))); });
  return largest;
}

// A factor by sequence and key head: a power of two times `smallest`, up to 8 times.
double factor_at(double smallest, std::int64_t b, std::int64_t key_head) {
  return std::ldexp(smallest, static_cast<int>((2 * b + 3 * key_head) % 5));
}

// Writes the factors, and factor * element into the tensor of the float32 call.
void widen(Field& factors, const Field& narrow, double smallest, Field& wide) {
  const std::int64_t group = narrow.size(2) / factors.size(1);
  for_each_element(factors,
                   [&](const Index& at) { factors.write(at, factor_at(smallest, at[0], at[1])); });
  for_each_element(narrow, [&](const Index& at) {
    wide.write(at, factors.read({at[0], at[2] / group}) * narrow.read(at));
  });
}

void expect_near(const Field& got, const Field& want, const char* name) {
  EXPECT_LE(largest_difference(got, want), kWithin * largest_number(want)) << name;
}

// Float32 keys, which are read in place if they have no factors.
TEST(Scaling, FactorsCountWhereNothingIsWidened) {
  Case scaled_case = draw(TW_FLOAT32, 300, 64);
  scaled_case.dtypes.has_scaling = true;
  Trial scaled(scaled_case), plain(draw(TW_FLOAT32, 300, 64));
  conformance::Setup &from = scaled.setup, &to = plain.setup;
  widen(from.scaling.query, from.query, 0.125, to.query);
  widen(from.scaling.key, from.key, 0.25, to.key);
  widen(from.scaling.value, from.value, 2, to.value);
  for (Trial* each : {&scaled, &plain}) each->forward();
  EXPECT_LE(largest_difference(from.output, to.output), 1e-6 * largest_number(to.output));
  EXPECT_LE(largest_difference(from.lse, to.lse), 1e-5);
}

TEST(Scaling, FactorsMeanTheWidenedNumbers) {
  for (const tw_dtype dtype : {TW_FLOAT8_E4M3, TW_FLOAT8_E5M2}) {
    SCOPED_TRACE(name_of(dtype));
    Case narrow_case = draw(dtype);
    narrow_case.dtypes.has_scaling = true;
    Trial narrow(narrow_case), wide(draw(TW_FLOAT32));
    conformance::Setup &from = narrow.setup, &to = wide.setup;
    widen(from.scaling.query, from.query, 0.125, to.query);
    widen(from.scaling.key, from.key, 0.25, to.key);
    widen(from.scaling.value, from.value, 2, to.value);
    widen(from.scaling.output_gradient, from.gradients.output, 0.5, to.gradients.output);
    for (Trial* each : {&narrow, &wide}) {
      each->forward();
      each->backward();
    }
    expect_near(from.output, to.output, "output");
    EXPECT_LE(largest_difference(from.lse, to.lse), 1e-4);
    expect_near(from.gradients.query, to.gradients.query, "query gradient");
    expect_near(from.gradients.key, to.gradients.key, "key gradient");
    expect_near(from.gradients.value, to.gradients.value, "value gradient");
  }
}

}  // namespace
}  // namespace tilewise::conformance
