// Which calls the kernels for tensor cores take, by which variant, what is said of the others, and
// that they run.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "backends/cuda/device/memory.h"
#include "backends/cuda/kernel_choice.h"
#include "conformance/check.h"
#include "conformance/trial.h"
#include "emulated_backend.h"
#include "environment.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

using conformance::Case;
using conformance::Request;
using conformance::Trial;

const Variable kAutomatic("TILEWISE_CUDA_KERNELS", nullptr);

Case aligned_case(tw_dtype dtype = TW_BFLOAT16) {
  return conformance::plain_case(
      1, {.queries = 5, .keys = 6, .heads = 2, .key_heads = 1, .dim = 24, .value_dim = 16},
      {.input = dtype, .output = dtype, .lse = TW_FLOAT32});
}

// What explain says of a case's call: the variant, or why none can run it.
std::string kernel_of(const Case& drawn, tw_operation operation = TW_FORWARD,
                      void (*change)(Request&) = nullptr) {
  const conformance::Setup setup = make_setup(drawn);
  Request request(drawn, setup);
  const bool is_forward = operation == TW_FORWARD;
  request.request.output = is_forward ? setup.output.view() : setup.probabilities.view();
  if (change) change(request);
  char text[2048], message[512];
  std::size_t needed = 0;
  const tw_status status = tw_explain(operation, &request.request, &request.execution, TW_JSON,
                                      text, sizeof text, &needed, message, sizeof message);
  if (status != TW_OK) return message;
  const std::string all = text, mark = "\"note\": \"";
  const std::size_t begin = all.find(mark) + mark.size();
  return all.substr(begin, all.find('"', begin) - begin);
}

TEST(Sm80Kernels, TakesAlignedCalls) {
  EXPECT_EQ(kernel_of(aligned_case(TW_FLOAT16)), "short 64, shared");
  EXPECT_EQ(kernel_of(aligned_case(TW_BFLOAT16)), "short 64, shared");
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const Case drawn = conformance::draw_aligned_case(seed);
    const std::string kind = kernel_of(drawn).substr(0, 5);
    EXPECT_TRUE(kind == "commo" || kind == "short") << drawn.describe();
  }
}

std::string kernel_with(void (*ask)(Case&)) {
  Case drawn = aligned_case();
  ask(drawn);
  return kernel_of(drawn);
}

TEST(Sm80Kernels, EverySizeHasItsVariant) {
  // As many queries as keys.
  const auto of_dims = [](std::int64_t dim, std::int64_t value_dim, std::int64_t length = 600) {
    Case drawn = aligned_case();
    drawn.queries = drawn.keys = conformance::dense_side(1, length);
    drawn.dim = dim;
    drawn.value_dim = value_dim;
    return kernel_of(drawn);
  };
  EXPECT_EQ(of_dims(8, 40), "common 48");
  EXPECT_EQ(of_dims(64, 8), "common 64");
  EXPECT_EQ(of_dims(72, 80), "common 96");
  EXPECT_EQ(of_dims(128, 128), "common 128");
  EXPECT_EQ(of_dims(160, 136), "common 192");
  EXPECT_EQ(of_dims(64, 256), "common 256");
  EXPECT_EQ(of_dims(13, 129), "general 192");
  EXPECT_EQ(of_dims(8, 40, 64), "short 64");
  EXPECT_EQ(of_dims(128, 64, 33), "short 128");
  EXPECT_EQ(of_dims(128, 64, 32), "short 128, shared");
  EXPECT_EQ(of_dims(136, 64, 32), "common 192, shared");
  EXPECT_EQ(of_dims(12, 9), "general 32");
  EXPECT_EQ(of_dims(12, 9, 16), "short general 64, shared");
  EXPECT_EQ(of_dims(56, 64, 500), "short 64");
  EXPECT_EQ(of_dims(48, 48, 500), "common 48");
  EXPECT_EQ(of_dims(128, 104, 128), "short 128");
  EXPECT_EQ(of_dims(128, 104, 129), "common 128");
  EXPECT_EQ(of_dims(96, 96, 128), "common 96");
}

TEST(Sm80Kernels, FeaturesTakeTheGeneralVariant) {
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.softcap = 3; }), "short general 64, shared");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.has_slopes = true; }), "short general 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.has_bias = true; }), "short general 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.has_sinks = true; }), "short 64, shared");
  EXPECT_EQ(kernel_with([](Case& c) { c.mask.has_visible = true; }), "short general 64");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.mask.has_blocks = true;
              c.mask.block_query = c.mask.block_key = 16;
            }),
            "short general 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.dropout.probability = 0.5; }), "short general 64");
  EXPECT_EQ(kernel_with([](Case& c) { c.value_dim = 12; }), "short general 64, shared");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.scores.has_scale = true;
              c.scores.scale = -1;
            }),
            "short general 64, shared");
}

TEST(Sm80Kernels, OutputsOfAnotherTypeAreMerged) {
  EXPECT_EQ(kernel_with([](Case& c) { c.dtypes.output = TW_FLOAT32; }), "short 64, shared, merged");
}

TEST(Sm80Kernels, FewTilesSplitTheirKeys) {
  Case drawn = aligned_case();
  drawn.keys = conformance::dense_side(1, 300);
  EXPECT_EQ(kernel_of(drawn), "short 64, shared, split");
  drawn.queries = conformance::dense_side(1, 600);
  EXPECT_EQ(kernel_of(drawn), "common 32");
}

TEST(Sm80Kernels, SaysWhatTheyLack) {
  EXPECT_EQ(kernel_with([](Case& c) { c.dim = 257; }), "a head dim above 256");
  EXPECT_EQ(kernel_with([](Case& c) { c.scores.softcap = 300; }), "a softcap far from 1");
  EXPECT_EQ(kernel_with([](Case& c) {
              c.dropout.probability = 0.5;
              c.dropout.base[3] = 16;
            }),
            "dropout that begins inside of a draw");
  EXPECT_EQ(kernel_of(aligned_case(TW_FLOAT32)), "float32");
  EXPECT_EQ(kernel_of(aligned_case(), TW_PROBABILITIES), "probabilities");
  EXPECT_EQ(kernel_of(aligned_case(), TW_FORWARD,
                      [](Request& request) {
                        tw_tensor& key = request.request.key;
                        key.stride[1] = std::int64_t{1} << 30;
                        key.byte_size = std::int64_t{1} << 40;
                      }),
            "rows so far apart");
}

TEST(Sm80Kernels, RunsWhatItTakes) {
  const std::int64_t before = emulated_fast_launches();
  Trial(aligned_case()).forward();
  EXPECT_EQ(emulated_fast_launches(), before + 1);
}

TEST(Sm80Kernels, PlainKernelsCanBeForced) {
  const Variable forced("TILEWISE_CUDA_KERNELS", "plain");
  const std::int64_t before = emulated_fast_launches();
  EXPECT_EQ(kernel_of(aligned_case()), "TILEWISE_CUDA_KERNELS");
  Trial(aligned_case()).forward();
  EXPECT_EQ(emulated_fast_launches(), before);
}

TEST(Sm80Kernels, NamesOfNoKernelsAreRefused) {
  const Variable forced("TILEWISE_CUDA_KERNELS", "fancy");
  const auto status = cuda::check_kernels_setting();
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_STREQ(
      status.sentence,
      "TILEWISE_CUDA_KERNELS is 'fancy', which names no kernels: use plain or packed, or leave it "
      "unset.");
}

// Lengths that lie on the device and are out of range are cut, and a bit of the error word says so.
TEST(Sm80Kernels, LengthsOutOfRangeAreCut) {
  Case drawn = aligned_case();
  drawn.batch = 2;
  drawn.queries = conformance::dense_side(2, 5);
  drawn.keys = conformance::dense_side(2, 70);
  Trial whole(drawn), cut(drawn);
  whole.forward();
  std::int32_t used[] = {1 << 30, -5};
  std::uint32_t error = 0;
  const std::int64_t before = emulated_fast_launches();
  cut.run(TW_FORWARD, [&](Request& request) {
    request.keys.size = sizeof request.keys;
    request.keys.used = dense(reinterpret_cast<float*>(used), {2});
    request.keys.used.dtype = TW_INT32;
    request.options.keys = &request.keys;
    request.execution.device = {TW_CUDA, 0};
    request.execution.device_tables = 1;
    request.execution.error = &error;
  });
  EXPECT_EQ(emulated_fast_launches(), before + 1);
  EXPECT_EQ(error, TW_FAULT_LENGTH);
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(cut.lse(0, i, 1), whole.lse(0, i, 1));
    EXPECT_EQ(cut.output(0, i, 1, 3), whole.output(0, i, 1, 3));
    EXPECT_TRUE(std::isinf(cut.lse(1, i, 1)));
    EXPECT_EQ(cut.output(1, i, 1, 3), 0);
  }
}

// Every variant has its own name, and takes at most kMostSharedBytes of shared memory.
TEST(Sm80Kernels, VariantsAreListed) {
  std::set<std::string> names;
  for (int number = 0; number < cuda::sm80::kVariantsOfForward; ++number) {
    for (const bool is_bfloat16 : {false, true}) {
      const cuda::Sm80Forward choice{is_bfloat16, number};
      const cuda::Variant& variant = variant_of(choice);
      const std::string begin = std::string("tilewise_sm80_forward_") +
                                (is_bfloat16 ? "bfloat16_" : "float16_") +
                                std::to_string(choice.size().dim);
      EXPECT_EQ(std::string(variant.name).substr(0, begin.size()), begin);
      EXPECT_TRUE(names.insert(variant.name).second) << variant.name;
      EXPECT_EQ(variant.threads, choice.size().threads());
      EXPECT_LE(variant.dynamic_shared_bytes, cuda::kMostSharedBytes);
    }
  }
  EXPECT_STREQ(variant_of(cuda::Sm80Merge{}).name, "tilewise_sm80_merge");
}

}  // namespace
}  // namespace tilewise
