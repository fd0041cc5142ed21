// What explain says of the kernels of a call on a GPU, and what a call says if it cannot have them.
// The driver is that of fake_cuda.cpp.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "backends/cuda/compiler/nvrtc_search.h"
#include "backends/cuda/compiler/pack.h"
#include "in_child.h"
#include "plan/backend.h"
#include "plan/settings.h"
#include "scratch_folder.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cuda {
namespace {

// A request without data, which is enough for explain.
face::Request shape() {
  face::Request request;
  for (Tensor* tensor : {&request.query, &request.key, &request.value, &request.output})
    *tensor = dense(nullptr, TW_FLOAT32, {1, 8, 2, 16});
  request.lse = dense(nullptr, TW_FLOAT32, {1, 2, 8});
  return request;
}

face::Execution on_device() {
  face::Execution where;
  where.device = {TW_CUDA, 0};
  return where;
}

// What `body` returns in a child with the fake driver, the library's own backends, which this
// program replaces, and no cache.
std::string on_gpu(const std::function<std::string(FakeCuda&)>& body) {
  return in_child([&](FakeCuda& fake) {
    setenv("TILEWISE_CACHE", "", 1);
    replace_backends({});
    return body(fake);
  });
}

std::string explanation(const face::Request& request, tw_format format) {
  std::string text;
  const face::Status status = explain(TW_FORWARD, request, text, on_device(), format);
  return status.ok() ? text : status.message;
}

// What explain says, in a process whose cache is `cache` and whose NVRTC is no file.
std::string explained(const std::string& cache, tw_format format) {
  return on_gpu([&](FakeCuda&) {
    setenv("TILEWISE_CACHE", cache.c_str(), 1);
    setenv("TILEWISE_NVRTC", "/nowhere/libnvrtc.so.12", 1);
    return explanation(shape(), format);
  });
}

bool has_nvrtc() {
  std::vector<NvrtcFile> found;
  return find_nvrtc(surroundings_of_environment(), 13000, found).ok();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Origin, IsExplained) {
  const ScratchFolder root;
  const std::string wanted = built_in_pack().empty()
                                 ? "1 cannot be had, so that the call fails. TILEWISE_NVRTC names "
                                   "/nowhere/libnvrtc.so.12, which is no file"
                                 : "1 in the library's pack";
  EXPECT_TRUE(has(explained(root / "cache", TW_TEXT), "\nkernels    " + wanted))
      << explained(root / "cache", TW_TEXT);
  EXPECT_TRUE(has(explained(root / "cache", TW_JSON), ", \"kernels\": \"" + wanted))
      << explained(root / "cache", TW_JSON);
}

// A call for a kernel with a softcap compiled in.
face::Request capped_shape() {
  face::Request request;
  for (Tensor* tensor : {&request.query, &request.key, &request.value, &request.output})
    *tensor = dense(nullptr, TW_BFLOAT16, {1, 640, 2, 64});
  request.lse = dense(nullptr, TW_FLOAT32, {1, 2, 640});
  request.scores.softcap = 30;
  return request;
}

std::string explained_capped(const std::function<void()>& set) {
  return on_gpu([&](FakeCuda&) {
    unsetenv("TILEWISE_CUDA_KERNELS");
    set();
    forget_settings();
    return explanation(capped_shape(), TW_TEXT);
  });
}

TEST(Origin, OfAKernelWithFeaturesIsSaidWhereItIsMissed) {
  const ScratchFolder root;
  const std::string without = explained_capped([&] {
    setenv("TILEWISE_CACHE", (root / "cache").c_str(), 1);
    setenv("TILEWISE_NVRTC", "/nowhere/libnvrtc.so.12", 1);
  });
  EXPECT_TRUE(has(without, "softcap: the general variant")) << without;
  EXPECT_TRUE(has(without, "One with softcap compiled in is faster, and wants NVRTC")) << without;
  const std::string packed = explained_capped([&] {
    setenv("TILEWISE_CACHE", (root / "cache").c_str(), 1);
    setenv("TILEWISE_CUDA_KERNELS", "packed", 1);
  });
  EXPECT_TRUE(has(packed, "which TILEWISE_CUDA_KERNELS=packed leaves out")) << packed;
}

TEST(Origin, OfAKernelWithFeaturesIsNvrtc) {
  if (!has_nvrtc()) GTEST_SKIP() << "There is no NVRTC.";
  const ScratchFolder root;
  const std::string with =
      explained_capped([&] { setenv("TILEWISE_CACHE", (root / "cache").c_str(), 1); });
  EXPECT_TRUE(has(with, "softcap: compiled in")) << with;
  EXPECT_TRUE(has(with, " that NVRTC ")) << with;
}

// Even if a path has the end of a line in it.
TEST(Origin, IsOneLine) {
  if (!built_in_pack().empty()) GTEST_SKIP() << "The library carries a pack.";
  const std::string said = on_gpu([](FakeCuda&) {
    setenv("TILEWISE_NVRTC", "/no\nwhere", 1);
    return explanation(shape(), TW_TEXT);
  });
  EXPECT_TRUE(has(said, "TILEWISE_NVRTC names /no?where, which is no file")) << said;
}

TEST(Origin, IsNoMatterOnTheProcessor) {
  std::string text;
  ASSERT_TRUE(explain(TW_FORWARD, shape(), text).ok());
  EXPECT_FALSE(has(text, "\nkernels ")) << text;
}

TEST(Origin, OfNothingIsASentenceThatSaysWhatToInstall) {
  if (!built_in_pack().empty()) GTEST_SKIP() << "The library carries a pack.";
  const std::string said = on_gpu([](FakeCuda&) {
    setenv("TILEWISE_NVRTC", "/nowhere/libnvrtc.so.12", 1);
    return prepare(TW_FORWARD, shape(), on_device()).message;
  });
  EXPECT_TRUE(has(said, "The library holds no kernel tilewise_plain_forward_float for sm_90. "))
      << said;
  EXPECT_TRUE(has(said, "TILEWISE_NVRTC")) << said;
}

// Two kernels, found at the same time and loaded once each.
TEST(Origin, OfAWholeCallIsFoundAtOnce) {
  if (!has_nvrtc()) GTEST_SKIP() << "There is no NVRTC.";
  const ScratchFolder root;
  const std::string said = on_gpu([&](FakeCuda& fake) -> std::string {
    setenv("TILEWISE_CACHE", (root / "cache").c_str(), 1);
    face::AppendRequest request;
    request.key = request.value = dense(nullptr, TW_FLOAT32, {1, 1, 2, 8});
    request.key_cache = request.value_cache = dense(nullptr, TW_FLOAT32, {1, 16, 2, 8});
    request.lengths = dense(nullptr, TW_INT32, {1});
    request.rotation = {dense(nullptr, TW_FLOAT32, {32, 4}), dense(nullptr, TW_FLOAT32, {32, 4})};
    request.query = request.rotated_query = dense(nullptr, TW_FLOAT32, {1, 1, 4, 8});
    face::Execution where = on_device();
    where.device_tables = true;
    for (int round = 0; round < 2; ++round) {
      const face::Status status = prepare(request, where);
      if (!status.ok()) return status.message;
    }
    return std::to_string(fake.loads) + " loads";
  });
  EXPECT_EQ(said, "2 loads");
}

}  // namespace
}  // namespace tilewise::cuda
