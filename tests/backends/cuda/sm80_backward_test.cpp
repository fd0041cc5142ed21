// Every variant of backward for tensor cores, on small ragged calls, against the oracle.
#include <gtest/gtest.h>

#include <string>

#include "backends/cuda/kernel_choice.h"
#include "conformance/series.h"
#include "emulated_backward.h"
#include "environment.h"
#include "oracle/random.h"
#include "sanitizers.h"
#include "sm80_backward_cases.h"

namespace tilewise {
namespace {

using oracle::Random;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// Fewer cases under the address sanitizer, where each takes ten times as long.
constexpr std::uint64_t kMuch = TW_ADDRESS_SANITIZER ? 1 : 8;

TEST(Sm80Backward, EveryCommonShape) {
  for (const int kib : {99, 227}) {
    const SharedKib device(kib);
    for (const std::uint64_t seed : {1U, 2U}) {
      for (const std::int64_t dim : {48, 64, 96, 128, 192, 256}) {
        Case drawn = dims_case(seed, dim, dim == 96 ? 72 : dim);
        if (seed == 1) drawn.mask.band.right = 0;
        drawn.gradients.deterministic = (dim == 96) == (seed == 1);
        drawn.gradients.has_lse = seed == 1;
        const std::int64_t size = dim == 192 && kib == 99 ? 256 : dim;
        const bool is_few = dim == 64;
        EXPECT_EQ(kernel_of(drawn), (is_few ? "few " : "common ") + std::to_string(size));
        expect_good(drawn);
      }
    }
  }
}

// The device has two multiprocessors. With a band, tiles differ in what they have to do.
TEST(Sm80Backward, FewBlocksHaveAMultiprocessorEach) {
  for (const std::uint64_t seed : {1U, 2U}) {
    PlainSizes sizes{.batch = 4, .queries = 100, .keys = 260, .dim = 64, .value_dim = 64};
    Case drawn = conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
    if (seed == 1) drawn.mask.band.right = 0;
    EXPECT_EQ(kernel_of(drawn), "common 64");
    expect_good(drawn);
    sizes.batch = 2;
    drawn = conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
    if (seed == 1) drawn.mask.band.right = 0;
    EXPECT_EQ(kernel_of(drawn), seed == 1 ? "few 64" : "common 64");
  }
}

TEST(Sm80Backward, EveryGeneralShape) {
  const WithoutCompiler here;
  for (const int kib : {163, 227}) {
    const SharedKib device(kib);
    for (const std::uint64_t seed : {1U, 2U}) {
      for (const std::int64_t dim : {64, 128, 256}) {
        Case drawn = dims_case(seed, dim, dim - 30);
        drawn.mask.band.left = 50;
        drawn.scores.softcap = seed == 1 ? 1.5 : 0;
        drawn.scores.has_slopes = drawn.scores.has_sinks = true;
        drawn.scores.has_bias = seed == 2;
        drawn.scores.bias_dtype = TW_FLOAT32;
        drawn.mask.has_visible = seed == 1;
        drawn.dropout.probability = 0.25;
        drawn.gradients.bias = drawn.gradients.slopes = drawn.gradients.sinks = true;
        drawn.gradients.deterministic = dim == 128;
        EXPECT_EQ(kernel_of(drawn), "general " + std::to_string(dim));
        expect_good(drawn);
      }
    }
  }
}

// Rows of a boolean mask must be whole pieces of 16 bytes. Otherwise the general variant serves.
TEST(Sm80Backward, EveryMaskedShape) {
  const WithoutCompiler here;
  for (const int kib : {163, 227}) {
    const SharedKib device(kib);
    for (const std::uint64_t seed : {1U, 2U}) {
      for (const std::int64_t dim : {64, 128}) {
        Case drawn = dims_case(seed, dim, dim);
        drawn.keys = conformance::dense_side(1, 160);
        drawn.mask.band.right = seed == 1 ? 0 : 40;
        drawn.mask.has_visible = dim == 64 || seed == 2;
        drawn.mask.has_blocks = dim == 128;
        drawn.scores.has_slopes = dim == 64 || kib == 227;
        drawn.mask.block_query = drawn.mask.block_key = 48;
        drawn.dropout.probability = 0.25;
        drawn.scores.has_sinks = drawn.gradients.sinks = true;
        drawn.gradients.deterministic = dim == 128;
        EXPECT_EQ(kernel_of(drawn), "masked " + std::to_string(dim));
        expect_good(drawn);
      }
    }
  }
}

// More tiles of both sides than there are stages, and query heads that share a key head.
TEST(Sm80Backward, ManyTiles) {
  for (const std::uint64_t seed : {3U, 4U}) {
    const PlainSizes sizes{.queries = 400, .keys = 500, .heads = 3, .dim = 32, .value_dim = 32};
    Case drawn = conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
    if (seed == 4) drawn.mask.band.left = drawn.mask.band.right = 100;
    expect_good(drawn);
    drawn.gradients.deterministic = true;
    expect_good(drawn);
  }
}

// On a GPU with many multiprocessors the tiles of several heads are interleaved. Blocks must still
// wait only for blocks that come before them.
TEST(Sm80Backward, TurnsOfHeadsThatGoTogether) {
  const Processors many(64);
  for (const std::uint64_t seed : {3U, 4U, 5U}) {
    const PlainSizes sizes{.batch = 2,
                           .queries = 300,
                           .keys = 500,
                           .heads = 6,
                           .key_heads = 3,
                           .dim = 32,
                           .value_dim = 32};
    Case drawn = conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
    if (seed == 4) drawn.mask.band.left = drawn.mask.band.right = 100;
    if (seed == 5) drawn.mask.band.right = 0;
    drawn.gradients.deterministic = true;
    expect_good(drawn);
  }
}

// Sequences that begin inside of tiles. The longest are too long for the short variants.
TEST(Sm80Backward, PackedSequences) {
  for (const std::uint64_t seed : {1U, 2U}) {
    Case drawn = dims_case(seed, 64, 64);
    drawn.batch = 4;
    drawn.queries = conformance::side_of(conformance::Storage::kPacked, {70, 5, 100, 30});
    drawn.keys = conformance::side_of(conformance::Storage::kPacked, {300, 40, 0, 130});
    expect_good(drawn);
  }
}

TEST(Sm80Backward, AlignedCallsStayWithinTheBound) {
  for (std::uint64_t seed = 1; seed <= 4 * kMuch; ++seed) {
    Case drawn = conformance::draw_aligned_case(seed);
    drawn.gradients.deterministic = seed % 3 == 0;
    expect_good(drawn);
  }
}

// The played driver of emulated_cuda.cpp finds kernels by their names, as a real one does.
TEST(Sm80Backward, KernelsAreKnownByTheirNames) {
  for (const bool is_bfloat16 : {false, true}) {
    for (int number = 0; number < cuda::sm80::kVariantsOfBackward; ++number) {
      for (const auto step :
           {cuda::BackwardStep::kRows, cuda::BackwardStep::kTiles, cuda::BackwardStep::kFinish}) {
        const cuda::Sm80Backward choice{step, is_bfloat16, number};
        const cuda::Variant& variant = cuda::variant_of(choice);
        std::size_t bytes = 0;
        EXPECT_EQ(cuda::emulated_backward(std::string(variant.name), bytes),
                  cuda::emulated_backward(choice))
            << variant.name;
        EXPECT_LE(variant.dynamic_shared_bytes, choice.tiles().shared_kib * 1024);
      }
    }
  }
}

std::string kernel_with(void (*ask)(Case&)) {
  Case drawn = dims_case(1, 64, 64);
  ask(drawn);
  return kernel_of(drawn);
}

TEST(Sm80Backward, FeaturesTakeTheGeneralVariant) {
  const WithoutCompiler here;
  EXPECT_EQ(kernel_with([](Case&) {}), "few 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.has_sinks = true; }), "few 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.mask.has_visible = true; }), "general 64");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.mask.has_visible = true;
              c.keys = conformance::dense_side(1, 160);
            }),
            "masked 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.dropout.probability = 0.5; }), "masked 64");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.dropout.probability = 0.5;
              c.scores.has_slopes = true;
            }),
            "masked 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.has_slopes = c.gradients.slopes = true; }),
            "general 64");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.dropout.probability = 0.5;
              c.dim = 136;
            }),
            "general 256");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.softcap = 3; }), "general 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.dim = 63; }), "general 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.value_dim = 72; }), "common 96");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.scores.has_scale = true;
              c.scores.scale = -1;
            }),
            "general 64");
}

TEST(Sm80Backward, AlibiNeedsRoomForTheWideTiles) {
  const WithoutCompiler here;
  const auto kernel_of_alibi = [](int kib) {
    const SharedKib device(kib);
    return kernel_with([](Case& c) {
      c.dim = c.value_dim = 128;
      c.scores.has_slopes = true;
    });
  };
  EXPECT_EQ(kernel_of_alibi(227), "masked 128");
  EXPECT_EQ(kernel_of_alibi(163), "general 128");
}

TEST(Sm80Backward, SaysWhatItLacks) {
  EXPECT_EQ(kernel_with([](Case& c) { c.dtypes.output = TW_FLOAT32; }),
            "an output of another type");
  EXPECT_EQ(kernel_with([](Case& c) { c.dim = 257; }), "a head dim above 256");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.scores.has_bias = c.gradients.bias = true;
              c.scores.bias_broadcast = {false, true, false, false};
              c.gradients.deterministic = true;
            }),
            "a bias's gradient that is summed, always in the same order");
  const SharedKib device(99);
  EXPECT_EQ(kernel_with([](Case& c) {
              c.dim = 136;
              c.scores.softcap = 3;
            }),
            "a head dim above 128 with features, in what memory a block of this GPU has");
}

// Which kernel runs depends on whether rows begin at multiples of 16 bytes. A question for the
// workspace may have no pointers, so the workspace must not depend on that.
TEST(Sm80Backward, RowsThatBeginAnywhereNeedNoOtherWorkspace) {
  for (const int kib : {99, 227}) {
    const SharedKib device(kib);
    Case drawn = dims_case(5, 136, 136);
    drawn.queries = conformance::dense_side(1, 20);
    drawn.keys = conformance::dense_side(1, 30);
    const conformance::Setup setup = conformance::make_setup(drawn);
    conformance::Request request(drawn, setup);
    std::size_t in_pieces = 0, anywhere = 0;
    ASSERT_EQ(request.workspace(TW_BACKWARD, in_pieces).status, TW_OK);
    request.request.query.data = static_cast<std::uint16_t*>(request.request.query.data) + 1;
    ASSERT_EQ(request.workspace(TW_BACKWARD, anywhere).status, TW_OK);
    EXPECT_EQ(anywhere, in_pieces) << kib;
    drawn.run.is_scattered = true;
    const Report report = check_case(drawn);
    EXPECT_TRUE(report.ok()) << report.sentences();
  }
}

// All features and layouts, in lengths of several tiles, and any of the gradients.
Case featured_case(std::uint64_t seed) {
  Case drawn = conformance::draw_case(seed);
  Random random(seed * 2 + 9);
  const Case features = drawn;
  if (random.chance(0.5) || drawn.keys.storage == conformance::Storage::kPaged) {
    const PlainSizes sizes{.batch = random.integer(1, 2),
                           .queries = random.integer(1, 200),
                           .keys = random.integer(1, 200),
                           .heads = 4,
                           .key_heads = random.integer(1, 2)};
    drawn = conformance::plain_case(seed, sizes, {});
    drawn.mask = features.mask;
    drawn.scores = features.scores;
    drawn.dropout = features.dropout;
    drawn.gradients = features.gradients;
    drawn.gradients.key = drawn.gradients.value = true;
    drawn.run.is_scattered = random.chance(0.5);
  }
  drawn.dim = random.integer(1, random.chance(0.2) ? 256 : 70);
  drawn.value_dim = random.chance(0.6) ? drawn.dim : random.integer(1, 70);
  drawn.run.keeps_pieces = random.chance(0.5);
  if (drawn.run.keeps_pieces) {
    drawn.dim = (drawn.dim + 7) / 8 * 8;
    drawn.value_dim = (drawn.value_dim + 7) / 8 * 8;
  }
  drawn.dtypes = dtypes_of(dtype_of(seed));
  // These kernels take dropout only if its base is a multiple of 16 rows and 32 keys, and add up a
  // bias's gradient in any order. Other calls are for the plain kernels.
  drawn.dropout.base[2] &= ~std::int64_t{15};
  drawn.dropout.base[3] &= ~std::int64_t{31};
  if (drawn.scores.has_bias) drawn.gradients.deterministic = false;
  return drawn;
}

TEST(Sm80Backward, RandomFeaturesStayWithinTheBound) {
  for (std::uint64_t seed = 1; seed <= 15 * kMuch; ++seed) expect_good(featured_case(seed));
}

TEST(Sm80Backward, RowsOfHugeScores) {
  for (const std::int64_t dim : {48, 64, 128}) {
    Case drawn = dims_case(1, dim, dim);
    drawn.scores.has_scale = true;
    drawn.scores.scale = 1;
    if (dim == 64) drawn.mask.band.left = drawn.mask.band.right = 60;
    expect_good(drawn, make_scores_huge);
  }
}

// Every weight is about e^-sink, because a sink takes nearly all of each row. Large values make
// gradients of them that are normal numbers.
template <int sink>
void make_weights_tiny(Setup& setup) {
  for (std::int64_t i = 0; i < setup.query.size(1); ++i)
    for (std::int64_t h = 0; h < setup.query.size(2); ++h)
      for (std::int64_t d = 0; d < setup.query.size(3); ++d) setup.query.write({0, i, h, d}, 0);
  for (std::int64_t j = 0; j < setup.value.size(1); ++j)
    for (std::int64_t d = 0; d < setup.value.size(3); ++d)
      setup.value.write({0, j, 0, d}, 64 * setup.value.read({0, j, 0, d}));
  for (std::int64_t h = 0; h < setup.query.size(2); ++h)
    setup.scores.sinks.write({0, h, 0, 0}, sink);
}

TEST(Sm80Backward, WeightsNearTheLeastNormalNumber) {
  for (const std::int64_t dim : {64, 128, 256}) {
    Case drawn = dims_case(1, dim, dim);
    drawn.scores.has_sinks = true;
    EXPECT_EQ(kernel_of(drawn), (dim == 64 ? "few " : "common ") + std::to_string(dim));
    expect_good(drawn, make_weights_tiny<88>);
    // Near the least normal number weights must count.
    expect_good(drawn, make_weights_tiny<84>);
    expect_good(drawn, make_weights_tiny<86>);
  }
}

TEST(Sm80Backward, WeightsNearTheLeastNormalNumberInShortSequences) {
  Case drawn = dims_case(1, 64, 64);
  drawn.scores.has_sinks = true;
  drawn.queries = drawn.keys = conformance::dense_side(1, 64);
  EXPECT_EQ(kernel_of(drawn), "short 64, 64 keys");
  expect_good(drawn, make_weights_tiny<84>);
  expect_good(drawn, make_weights_tiny<86>);
}

// Kernels that sum a bias's gradient must not flush such weights.
TEST(Sm80Backward, ABiasKeepsWeightsBelowTheNormalNumbers) {
  Case drawn = dims_case(1, 64, 64);
  drawn.scores.has_sinks = drawn.scores.has_bias = drawn.gradients.bias = true;
  drawn.scores.bias_dtype = drawn.dtypes.input;
  drawn.keys = conformance::dense_side(1, 176);
  EXPECT_EQ(kernel_of(drawn), "featured 64: bias, the bias's gradient");
  expect_good(drawn, make_weights_tiny<88>);
  const WithoutCompiler here;
  EXPECT_EQ(kernel_of(drawn), "general 64");
  expect_good(drawn, make_weights_tiny<88>);
}

// Calls that went wrong on a GPU: a weight below the normal numbers in a bias's gradient, a
// softcap's slope that was rounded, and keys near the diagonal under a steep slope.
TEST(Sm80Backward, CallsThatOnceWentWrong) {
  const struct {
    const char* series;
    std::uint64_t seed;
  } calls[] = {{"random/outlier/bfloat16", 1600061},
               {"random/small/float16", 4500009},
               {"random/large/bfloat16", 4000065}};
  for (const auto& call : calls) {
    const auto found = conformance::series_named(call.series);
    ASSERT_EQ(found.size(), 1U);
    const Report report = found[0]->check(found[0]->draw(call.seed));
    EXPECT_TRUE(report.ok()) << call.series << report.sentences();
  }
}

}  // namespace
}  // namespace tilewise
