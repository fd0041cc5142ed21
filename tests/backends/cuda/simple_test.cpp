// Which calls the simple kernel takes, what is said of the others, and that it runs.
#include <gtest/gtest.h>

#include <cmath>
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

// What explain says of a case's forward: "simple kernel", or what that lacks.
std::string kernel_of(const Case& drawn, tw_operation operation = TW_FORWARD) {
  const conformance::Setup setup = make_setup(drawn);
  Request request(drawn, setup);
  const bool is_forward = operation == TW_FORWARD;
  request.request.output = is_forward ? setup.output.view() : setup.probabilities.view();
  char text[2048], message[512];
  std::size_t needed = 0;
  const tw_status status = tw_explain(operation, &request.request, &request.execution, TW_JSON,
                                      text, sizeof text, &needed, message, sizeof message);
  if (status != TW_OK) return message;
  const std::string all = text, mark = "\"note\": \"";
  const std::size_t begin = all.find(mark) + mark.size();
  return all.substr(begin, all.find('"', begin) - begin);
}

TEST(SimpleKernel, TakesAlignedCalls) {
  EXPECT_EQ(kernel_of(aligned_case(TW_FLOAT16)), "simple kernel");
  EXPECT_EQ(kernel_of(aligned_case(TW_BFLOAT16)), "simple kernel");
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const Case drawn = conformance::draw_aligned_case(seed);
    EXPECT_EQ(kernel_of(drawn), "simple kernel") << drawn.describe();
  }
}

TEST(SimpleKernel, SaysWhatItLacks) {
  const auto lacks = [](void (*ask)(Case&)) {
    Case drawn = aligned_case();
    ask(drawn);
    return kernel_of(drawn);
  };
  EXPECT_EQ(lacks([](Case& c) { c.scores.softcap = 3; }), "softcap");
  EXPECT_EQ(lacks([](Case& c) { c.scores.has_slopes = true; }), "ALiBi");
  EXPECT_EQ(lacks([](Case& c) { c.scores.has_bias = true; }), "bias");
  EXPECT_EQ(lacks([](Case& c) { c.scores.has_sinks = true; }), "sinks");
  EXPECT_EQ(lacks([](Case& c) { c.mask.has_visible = true; }), "boolean mask");
  EXPECT_EQ(lacks([](Case& c) {
              c.mask.has_blocks = true;
              c.mask.block_query = c.mask.block_key = 16;
            }),
            "block mask");
  EXPECT_EQ(lacks([](Case& c) { c.dropout.probability = 0.5; }), "dropout");
  EXPECT_EQ(lacks([](Case& c) { c.dim = 136; }), "a head dim above 128");
  EXPECT_EQ(lacks([](Case& c) { c.value_dim = 12; }), "a head dim that is no multiple of 8");
  EXPECT_EQ(lacks([](Case& c) { c.dtypes.output = TW_FLOAT32; }), "an output of another type");
  for (const double scale : {0.0, -1.0, 1e-30}) {
    Case drawn = aligned_case();
    drawn.scores.has_scale = true;
    drawn.scores.scale = scale;
    EXPECT_EQ(kernel_of(drawn), "a scale that is not positive, or far from 1");
  }
  EXPECT_EQ(kernel_of(aligned_case(TW_FLOAT32)), "float32");
  EXPECT_EQ(kernel_of(aligned_case(), TW_PROBABILITIES), "probabilities");
}

TEST(SimpleKernel, RunsWhatItTakes) {
  const std::int64_t before = emulated_simple_launches();
  Trial(aligned_case()).forward();
  EXPECT_EQ(emulated_simple_launches(), before + 1);
}

TEST(SimpleKernel, PlainKernelsCanBeForced) {
  const Variable forced("TILEWISE_CUDA_KERNELS", "plain");
  const std::int64_t before = emulated_simple_launches();
  EXPECT_EQ(kernel_of(aligned_case()), "TILEWISE_CUDA_KERNELS");
  Trial(aligned_case()).forward();
  EXPECT_EQ(emulated_simple_launches(), before);
}

TEST(SimpleKernel, NamesOfNoKernelsAreRefused) {
  const Variable forced("TILEWISE_CUDA_KERNELS", "fancy");
  const auto status = cuda::check_kernels_setting();
  EXPECT_EQ(status.code, TW_INVALID);
  EXPECT_STREQ(
      status.sentence,
      "TILEWISE_CUDA_KERNELS is 'fancy', which names no kernels: use plain, or leave it unset.");
}

// Lengths that lie on the device and are out of range are cut, and a bit says so.
TEST(SimpleKernel, LengthsOutOfRangeAreCut) {
  Case drawn = aligned_case();
  drawn.batch = 2;
  drawn.queries = conformance::dense_side(2, 5);
  drawn.keys = conformance::dense_side(2, 70);
  Trial whole(drawn), cut(drawn);
  whole.forward();
  std::int32_t used[] = {1 << 30, -5};
  std::uint32_t error = 0;
  const std::int64_t before = emulated_simple_launches();
  cut.run(TW_FORWARD, [&](Request& request) {
    request.keys.size = sizeof request.keys;
    request.keys.used = dense(reinterpret_cast<float*>(used), {2});
    request.keys.used.dtype = TW_INT32;
    request.options.keys = &request.keys;
    request.execution.device = {TW_CUDA, 0};
    request.execution.device_tables = 1;
    request.execution.error = &error;
  });
  EXPECT_EQ(emulated_simple_launches(), before + 1);
  EXPECT_EQ(error, TW_FAULT_LENGTH);
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(cut.lse(0, i, 1), whole.lse(0, i, 1));
    EXPECT_EQ(cut.output(0, i, 1, 3), whole.output(0, i, 1, 3));
    EXPECT_TRUE(std::isinf(cut.lse(1, i, 1)));
    EXPECT_EQ(cut.output(1, i, 1, 3), 0);
  }
}

// Every variant has its own name, and asks for no more memory than every GPU has.
TEST(SimpleKernel, VariantsAreListed) {
  for (int dim = 0; dim < static_cast<int>(std::size(cuda::kSimpleDims)); ++dim) {
    for (const bool is_bfloat16 : {false, true}) {
      const cuda::SimpleChoice choice{is_bfloat16, dim};
      const cuda::Variant& variant = variant_of(choice);
      const std::string name = std::string("tilewise_simple_forward_") +
                               (is_bfloat16 ? "bfloat16_" : "float16_") +
                               std::to_string(cuda::kSimpleDims[dim]);
      EXPECT_EQ(variant.name, name);
      EXPECT_LE(variant.dynamic_shared_bytes, cuda::kMostSharedBytes);
    }
  }
}

}  // namespace
}  // namespace tilewise
