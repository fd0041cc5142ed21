// Query, key and value as slices of one buffer, their gradients as slices of another: what training
// code passes for a fused projection. The gradients interleave in their buffer, and share no byte.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

constexpr std::int64_t kBatch = 2, kLength = 40, kHeads = 4, kKeyHeads = 2, kDim = 8;
constexpr std::int64_t kAllHeads = kHeads + 2 * kKeyHeads;

Case fused_case() {
  Case drawn = plain_case(15,
                          {.batch = kBatch,
                           .queries = kLength,
                           .keys = kLength,
                           .heads = kHeads,
                           .key_heads = kKeyHeads,
                           .dim = kDim,
                           .value_dim = kDim},
                          {});
  drawn.mask.band.right = 0;
  return drawn;
}

// Heads first .. first + count - 1 of the fused tensor.
tw_tensor slice(const Field& fused, std::int64_t first, std::int64_t count) {
  tw_tensor view = fused.view();
  view.byte_offset += first * view.stride[2] * 8;
  view.shape[2] = count;
  return view;
}

std::array<tw_tensor, 3> slices(const Field& fused) {
  return {slice(fused, 0, kHeads), slice(fused, kHeads, kKeyHeads),
          slice(fused, kHeads + kKeyHeads, kKeyHeads)};
}

// Compares a slice of the fused gradients with the gradient in its own memory.
void expect_slice(const Field& fused, std::int64_t first, const Field& alone) {
  for (std::int64_t b = 0; b < kBatch; ++b) {
    for (std::int64_t i = 0; i < kLength; ++i) {
      for (std::int64_t h = 0; h < alone.size(2); ++h) {
        for (std::int64_t d = 0; d < kDim; ++d) {
          ASSERT_NEAR(fused.read({b, i, first + h, d}), alone.read({b, i, h, d}), 1e-13);
        }
      }
    }
  }
}

TEST(Fused, InterleavedOperandsAndGradients) {
  const Shape shape = {kBatch, kLength, kAllHeads, kDim};
  Field operands = Field::dense(TW_FLOAT64, shape), gradients = Field::dense(TW_FLOAT64, shape);
  Trial apart(fused_case()), together(fused_case());
  for (std::int64_t b = 0; b < kBatch; ++b) {
    for (std::int64_t i = 0; i < kLength; ++i) {
      for (std::int64_t h = 0; h < kAllHeads; ++h) {
        const Field& from = h < kHeads               ? apart.setup.query
                            : h < kHeads + kKeyHeads ? apart.setup.key
                                                     : apart.setup.value;
        const std::int64_t head = h < kHeads ? h : (h - kHeads) % kKeyHeads;
        for (std::int64_t d = 0; d < kDim; ++d) {
          operands.write({b, i, h, d}, from.read({b, i, head, d}));
        }
      }
    }
  }
  const auto fuse = [&](Request& request) {
    const auto given = slices(operands), wanted = slices(gradients);
    request.request.query = given[0];
    request.request.key = given[1];
    request.request.value = given[2];
    request.gradients.query = wanted[0];
    request.gradients.key = wanted[1];
    request.gradients.value = wanted[2];
  };
  apart.forward();
  apart.backward();
  together.run(TW_FORWARD, fuse);
  together.run(TW_BACKWARD, fuse);
  EXPECT_LT(largest_difference(apart.setup.output, together.setup.output), 1e-14);
  expect_slice(gradients, 0, apart.setup.gradients.query);
  expect_slice(gradients, kHeads, apart.setup.gradients.key);
  expect_slice(gradients, kHeads + kKeyHeads, apart.setup.gradients.value);
}

}  // namespace
}  // namespace tilewise::conformance
