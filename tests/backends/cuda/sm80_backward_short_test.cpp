// Backward of short sequences by tensor cores, by every row of tiles for them, against the oracle.
#include <gtest/gtest.h>

#include <string>

#include "backends/cuda/kernel_choice.h"
#include "environment.h"
#include "sm80_backward_cases.h"

namespace tilewise {
namespace {

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

// Two heads to a key head.
Case short_case(std::uint64_t seed, std::int64_t queries, std::int64_t keys, std::int64_t dim) {
  const PlainSizes sizes{.batch = 2,
                         .queries = queries,
                         .keys = keys,
                         .heads = 4,
                         .key_heads = 2,
                         .dim = dim,
                         .value_dim = dim};
  return conformance::plain_case(seed, sizes, dtypes_of(dtype_of(seed)));
}

std::string name_of(std::int64_t dim, std::int64_t keys) {
  return "short " + std::to_string(dim) + ", " + std::to_string(keys) + " keys";
}

TEST(Sm80BackwardShort, EveryShape) {
  for (const std::int64_t dim : {64, 128}) {
    for (const std::int64_t length : {16, 32, 64, 128}) {
      for (const std::uint64_t seed : {1U, 2U}) {
        Case drawn = short_case(seed, length, length, dim);
        if (seed == 1) drawn.mask.band.right = 0;
        drawn.gradients.has_lse = seed == 1;
        drawn.scores.has_sinks = drawn.gradients.sinks = seed == 2;
        drawn.gradients.deterministic = seed == 2;
        EXPECT_EQ(kernel_of(drawn), name_of(dim, length));
        expect_good(drawn);
      }
    }
  }
}

// Tiles that are not full, head dims below the kernel's, and queries in one tile or two.
TEST(Sm80BackwardShort, RaggedTiles) {
  for (const std::uint64_t seed : {3U, 4U}) {
    for (const std::int64_t length : {11, 29, 50, 101}) {
      const std::int64_t tile = length < 16 ? 16 : length < 32 ? 32 : length < 64 ? 64 : 128;
      Case drawn = short_case(seed, length + 4, length, 72);
      drawn.value_dim = seed == 3 ? 40 : 104;
      drawn.mask.band.left = seed == 3 ? 5 : 100;
      drawn.mask.band.chunk = seed == 3 ? 0 : 8;
      EXPECT_EQ(kernel_of(drawn), name_of(128, tile));
      expect_good(drawn);
      drawn.dim = drawn.value_dim = 48;
      drawn.scores.has_sinks = drawn.gradients.sinks = true;
      EXPECT_EQ(kernel_of(drawn), name_of(64, tile));
      expect_good(drawn);
    }
  }
}

// Packed sequences, some of which have no queries or no keys. Then gradients are 0.
TEST(Sm80BackwardShort, PackedSequences) {
  using conformance::Storage;
  for (const std::int64_t dim : {64, 128}) {
    Case drawn = short_case(5, 1, 1, dim);
    drawn.batch = 6;
    drawn.queries = conformance::side_of(Storage::kPacked, {3, 0, 30, 7, 16, 0});
    drawn.keys = conformance::side_of(Storage::kPacked, {0, 9, 28, 13, 1, 0});
    drawn.scores.has_sinks = drawn.gradients.sinks = true;
    EXPECT_EQ(kernel_of(drawn), name_of(dim, 32));
    expect_good(drawn);
  }
}

// More keys than a tile has, up to twice as many, in calls with enough blocks.
TEST(Sm80BackwardShort, KeysOfTwoTiles) {
  for (const std::int64_t dim : {64, 128}) {
    for (const std::uint64_t seed : {1U, 2U}) {
      Case drawn = short_case(seed, seed == 1 ? 256 : 130, seed == 1 ? 256 : 201, dim);
      if (seed == 1) drawn.mask.band.right = 0;
      drawn.scores.has_sinks = drawn.gradients.sinks = seed == 2;
      EXPECT_EQ(kernel_of(drawn), name_of(dim, 128));
      expect_good(drawn);
    }
    // Some sequences end in the first tile.
    Case drawn = short_case(7, 1, 1, dim);
    drawn.batch = 4;
    drawn.queries = conformance::side_of(conformance::Storage::kPacked, {70, 0, 200, 5});
    drawn.keys = conformance::side_of(conformance::Storage::kPacked, {129, 140, 100, 0});
    EXPECT_EQ(kernel_of(drawn), name_of(dim, 128));
    expect_good(drawn);
  }
}

// Only some of the gradients.
TEST(Sm80BackwardShort, WhatNobodyWantsIsNotWritten) {
  for (const bool of_query : {false, true}) {
    Case drawn = short_case(6, 40, 40, 64);
    drawn.gradients.query = of_query;
    drawn.gradients.key = drawn.gradients.value = !of_query;
    EXPECT_EQ(kernel_of(drawn), name_of(64, 64));
    expect_good(drawn);
  }
}

// Rows apart, which the block itself finds in short variants.
TEST(Sm80BackwardShort, RowsOfHugeScores) {
  for (const std::int64_t dim : {64, 128}) {
    for (const std::int64_t length : {16, 61, 128}) {
      Case drawn = short_case(1, length, length, dim);
      drawn.scores.has_scale = true;
      drawn.scores.scale = 1;
      if (length == 61) drawn.mask.band.left = drawn.mask.band.right = 20;
      expect_good(drawn, make_scores_huge);
    }
  }
}

TEST(Sm80BackwardShort, WhatTakesOtherVariants) {
  const WithoutCompiler here;
  const auto kernel_with = [](void (*ask)(Case&)) {
    Case drawn = short_case(1, 100, 100, 128);
    ask(drawn);
    return kernel_of(drawn);
  };
  EXPECT_EQ(kernel_with([](Case&) {}), name_of(128, 128));
  EXPECT_EQ(kernel_with([](Case& c) { c.keys = conformance::dense_side(2, 257); }), "common 128");
  EXPECT_EQ(kernel_with([](Case& c) { c.queries = conformance::dense_side(2, 257); }),
            "common 128");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.keys = conformance::dense_side(1, 129);
              c.queries = conformance::dense_side(1, 129);
              c.batch = c.key_heads = 1;
            }),
            "common 128");
  EXPECT_EQ(kernel_with([](Case& c) { c.dim = 136; }), "common 192");
  EXPECT_EQ(kernel_with([](Case& c) { c.dropout.probability = 0.5; }), "masked 128");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.softcap = 3; }), "general 128");
  EXPECT_EQ(kernel_with([](Case& c) { c.dim = 127; }), "general 128");
  // Two tiles of keys need enough blocks. 3 do for 2 multiprocessors that hold one block each, but
  // at head dims up to 64 each holds two.
  EXPECT_EQ(kernel_with([](Case& c) {
              c.keys = c.queries = conformance::dense_side(3, 200);
              c.batch = 3;
              c.heads = c.key_heads = 1;
              c.dim = c.value_dim = 64;
            }),
            "common 64");
  const SharedKib device(99);
  EXPECT_EQ(kernel_with([](Case&) {}), "common 128");
}

}  // namespace
}  // namespace tilewise
