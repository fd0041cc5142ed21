// What kernels for tensor cores do otherwise on some architectures, against the oracle. Other tests
// play sm_90.
#include <gtest/gtest.h>

#include <string>

#include "environment.h"
#include "sm80_backward_cases.h"

namespace tilewise {
namespace {

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// A GPU of this architecture, whose blocks have so much memory, for as long as this lives.
struct Played {
  Played(int number, int kib) : architecture(number), memory(kib) {}

  const Architecture architecture;
  const SharedKib memory;
};

// Before sm_90, numbers are added to the workspace one by one, and lie there in another order.
TEST(Sm80Architecture, QueryGradientsAddedOneByOne) {
  for (const int kib : {99, 163}) {
    const Played gpu(kib == 99 ? 89 : 80, kib);
    for (const std::int64_t dim : {48, 64, 96, 128, 192, 256}) {
      Case drawn = dims_case(2, dim, dim == 96 ? 72 : dim);
      drawn.gradients.deterministic = dim % 64 == 0;
      const std::int64_t size = dim == 192 && kib == 99 ? 256 : dim;
      EXPECT_EQ(kernel_of(drawn), (dim == 64 ? "few " : "common ") + std::to_string(size));
      expect_good(drawn);
    }
  }
}

Case biased_case(std::int64_t dim) {
  Case drawn = dims_case(2, dim, dim);
  drawn.keys = conformance::dense_side(1, 176);
  drawn.mask.band.right = 20;
  drawn.scores.has_bias = drawn.gradients.bias = drawn.gradients.bias_as_bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  return drawn;
}

TEST(Sm80Architecture, BiasGradientsAddedOneByOne) {
  const Played gpu(80, 227);
  for (const std::int64_t dim : {64, 128}) {
    Case drawn = biased_case(dim);
    EXPECT_EQ(kernel_of(drawn), "featured " + std::to_string(dim) + ": bias, the bias's gradient");
    expect_good(drawn);
    const WithoutCompiler here;
    EXPECT_EQ(kernel_of(drawn), "general " + std::to_string(dim));
    expect_good(drawn);
  }
}

TEST(Sm80Architecture, BiasGradientOfOneRowAddedOneByOne) {
  const Played gpu(80, 227);
  for (const std::int64_t dim : {64, 128}) {
    Case drawn = biased_case(dim);
    drawn.scores.bias_broadcast[2] = true;
    expect_good(drawn);
  }
}

// The gradient has another type than the inputs.
TEST(Sm80Architecture, BiasGradientWithoutPiecesAddedOneByOne) {
  const Played gpu(80, 227);
  for (const std::int64_t dim : {64, 128}) {
    Case drawn = biased_case(dim);
    drawn.gradients.bias_as_bias = false;
    expect_good(drawn);
  }
}

// Causal calls of four sequences.
Case causal_case(std::int64_t dim, std::int64_t queries, std::int64_t keys) {
  Case drawn = dims_case(1, dim, dim);
  drawn.batch = 4;
  drawn.queries = conformance::dense_side(4, queries);
  drawn.keys = conformance::dense_side(4, keys);
  drawn.mask.band.right = 0;
  return drawn;
}

// Before sm_90 and on sm_100, some variants of backward recompute addresses and first queries.
TEST(Sm80Architecture, BackwardWithFewerRegisters) {
  for (const int architecture : {80, 100}) {
    const Played gpu(architecture, architecture == 80 ? 163 : 227);
    for (const std::int64_t dim : {48, 64, 128}) {
      const Case drawn = causal_case(dim, 150, 260);
      EXPECT_EQ(kernel_of(drawn), "common " + std::to_string(dim));
      expect_good(drawn);
    }
    Case capped = causal_case(128, 150, 176);
    capped.scores.softcap = 1.5;
    EXPECT_EQ(kernel_of(capped), "featured 128: softcap");
    expect_good(capped);
  }
}

TEST(Sm80Architecture, ShortBackwardWithFewerRegisters) {
  for (const int architecture : {80, 100}) {
    const Played gpu(architecture, architecture == 80 ? 163 : 227);
    for (const std::int64_t dim : {64, 128}) {
      for (const std::int64_t length : {16, 64, 128}) {
        const Case drawn = causal_case(dim, length, length);
        EXPECT_EQ(kernel_of(drawn),
                  "short " + std::to_string(dim) + ", " + std::to_string(length) + " keys");
        expect_good(drawn);
      }
    }
  }
}

void expect_good_huge_scores(void (*ask)(Case&)) {
  for (const int architecture : {100, 120}) {
    const Played gpu(architecture, architecture == 100 ? 227 : 99);
    for (const std::int64_t dim : {64, 128}) {
      Case drawn = dims_case(1, dim, dim);
      drawn.scores.has_scale = true;
      drawn.scores.scale = 1;
      ask(drawn);
      expect_good(drawn, make_scores_huge);
      // One of these seeds moves all scores to about -1e5.
      for (const std::uint64_t seed : {1U, 2U, 3U}) {
        Case shifted = dims_case(seed, dim, dim);
        set_family(shifted, conformance::Family::kShift);
        ask(shifted);
        expect_good(shifted);
      }
    }
  }
}

// From sm_100 on, forward weighs rows of huge scores by a copy of the code.
TEST(Sm80Architecture, HugeScores) {
  expect_good_huge_scores([](Case&) {});
}

TEST(Sm80Architecture, HugeScoresUnderACausalMask) {
  expect_good_huge_scores([](Case& c) { c.mask.band.right = 0; });
}

TEST(Sm80Architecture, HugeScoresAndSinks) {
  expect_good_huge_scores([](Case& c) { c.scores.has_sinks = true; });
}

// From sm_120 on, the merge adds sinks to rows of the common and short variants.
TEST(Sm80Architecture, SinksThatAreMerged) {
  const Played gpu(120, 99);
  for (const std::int64_t dim : {64, 128, 256}) {
    for (const std::uint64_t seed : {1U, 2U}) {
      Case drawn = dims_case(seed, dim, dim);
      drawn.scores.has_sinks = true;
      if (seed == 1) drawn.mask.band.right = 0;
      if (seed == 2) drawn.mask.band.left = 20;
      expect_good(drawn);
    }
  }
}

}  // namespace
}  // namespace tilewise
