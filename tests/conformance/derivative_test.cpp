// Compares each gradient with differences of the forward pass along a random direction. No
// oracle takes part, so the test would show a mistake that library and oracle share.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

Case draw_smooth(std::uint64_t seed) {
  Case drawn = draw_case(seed);
  drawn.run.is_scattered = false;  // no two elements share memory
  drawn.gradients = {};
  drawn.gradients.has_lse = seed % 2 == 0;
  drawn.scores.bias_dtype = TW_FLOAT64;
  drawn.scores.has_sinks = drawn.scores.has_slopes = drawn.scores.has_bias = true;
  if (drawn.keys.is_cache()) drawn.keys = dense_side(drawn.batch, drawn.keys.extent());
  return drawn;
}

double loss(Trial& trial) {
  trial.forward();
  double sum = 0;
  const GradientFields& arriving = trial.setup.gradients;
  for_each_query(trial.drawn, [&](std::int64_t b, std::int64_t i, std::int64_t h) {
    for (std::int64_t d = 0; d < trial.drawn.value_dim; ++d) {
      const Index index = row_index(trial.drawn.queries, b, i, h, d);
      sum += arriving.output.read(index) * trial.setup.output.read(index);
    }
    const double lse = trial.lse(b, i, h);
    if (arriving.lse.absent() || std::isinf(lse)) return;
    sum += arriving.lse.read(lse_index(trial.drawn.queries, b, h, i)) * lse;
  });
  return sum;
}

// Adds step times a random direction, drawn from `seed`, to every finite element of `field`.
// Returns how much `gradient` says that the loss changes by this; the change counts as it was
// stored, after rounding.
double move(Field& field, const Field& gradient, std::uint64_t seed, double step) {
  oracle::Random random(seed);
  double change = 0;
  for_each_element(field, [&](const Index& index) {
    const double before = field.read(index), direction = random.normal();
    if (!std::isfinite(before)) return;
    field.write(index, before + step * direction);
    change += (field.read(index) - before) * gradient.read(index);
  });
  return change;
}

void expect_derivative(Trial& trial, Field& field, const Field& gradient, const std::string& name) {
  const double step = field.view().dtype == TW_FLOAT32 ? 0x1p-15 : 0x1p-17;
  const std::uint64_t seed = trial.drawn.seed;
  field.remember();
  const double up = move(field, gradient, seed, step);
  const double above = loss(trial);
  field.restore();
  const double down = move(field, gradient, seed, -step);
  const double below = loss(trial);
  field.restore();
  const double size = step * std::sqrt(1 + static_cast<double>(field.bytes().size()) / 8);
  EXPECT_NEAR(above - below, up - down, 2e-5 * std::fabs(up - down) + 1e-6 * size)
      << name << " of " << trial.drawn.describe();
}

TEST(Derivative, EveryGradientIsTheSlopeOfTheForwardPass) {
  for (std::uint64_t seed = 501; seed <= 560; ++seed) {
    Trial trial(draw_smooth(seed));
    trial.forward();
    trial.backward();
    auto& memory = trial.setup;
    GradientFields& gradients = memory.gradients;
    expect_derivative(trial, memory.query, gradients.query, "query");
    expect_derivative(trial, memory.key, gradients.key, "key");
    expect_derivative(trial, memory.value, gradients.value, "value");
    expect_derivative(trial, memory.scores.bias, gradients.bias, "bias");
    expect_derivative(trial, memory.scores.slopes, gradients.slopes, "slopes");
    expect_derivative(trial, memory.scores.sinks, gradients.sinks, "sinks");
  }
}

}  // namespace
}  // namespace tilewise::conformance
