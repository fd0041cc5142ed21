// Which kernels a choice means, what is said of them, and building and removing them.
#include "backends/cuda/catalog.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/pack.h"
#include "in_child.h"
#include "kernels.h"
#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

tw_kernel_choice choice(const char* names, const char* architectures, int driver = 12080) {
  return {sizeof(tw_kernel_choice), names, architectures, driver};
}

std::string refusal(const tw_kernel_choice& choice, tw_status code = TW_INVALID) {
  Selection selection;
  const Status status = select(choice, selection);
  EXPECT_EQ(status.code, code);
  return status.sentence;
}

std::string architectures_of(const Selection& selection) {
  std::string text;
  for (const Target& target : selection.targets) {
    text += std::to_string(target.major) + "." + std::to_string(target.minor) + " ";
    EXPECT_EQ(target.driver_version, selection.driver_version);
  }
  return text;
}

TEST(Select, TakesAllVariantsAndWhatIsNamed) {
  Selection all;
  ASSERT_TRUE(select(choice(nullptr, "sm_90"), all).ok());
  EXPECT_EQ(all.variants.size(), packed_variants().size());
  EXPECT_EQ(architectures_of(all), "9.0 ");
  EXPECT_EQ(all.driver_version, 12080);
  Selection some;
  ASSERT_TRUE(
      select(choice("tilewise_plain_merge,*rotary,*plain_merge,", "sm_120,sm_86,sm_120"), some)
          .ok());
  EXPECT_EQ(some.variants.size(), 2U);
  EXPECT_EQ(architectures_of(some), "12.0 8.6 ");
}

TEST(Select, SaysWhatCannotBe) {
  EXPECT_NE(refusal(choice("no_such", "sm_90")).find("'no_such'"), std::string::npos);
  for (const char* name : {"90", "sm_9", "sm_9x", "sm_080", "sm_1200", "compute_90", "sm_90a"}) {
    const std::string sentence = refusal(choice(nullptr, name));
    EXPECT_NE(sentence.find(std::string("'") + name + "' is no architecture"), std::string::npos)
        << sentence;
  }
  EXPECT_NE(refusal(choice(nullptr, "sm_75"), TW_UNSUPPORTED).find("sm_80"), std::string::npos);
  for (const int driver : {-1, 12, 570, 11080, 1000000})
    EXPECT_NE(refusal(choice(nullptr, "sm_90", driver)).find("12040"), std::string::npos);
}

TEST(Select, TakesThisMachinesGpus) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              fake.major = 8, fake.minor = 9;
              Selection selection;
              if (!select(choice(nullptr, nullptr, 0), selection).ok()) return std::string("no");
              return architectures_of(selection) + std::to_string(selection.driver_version) + " " +
                     std::to_string(fake.opened);
            }),
            "8.9 13000 0")
      << "once, of the driver's version, and no context is made";
}

TEST(Select, TakesAllThatThePackIsForWhereThereIsNoGpu) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              fake.start_result = 100;
              Selection selection;
              if (!select(choice(nullptr, nullptr, 0), selection).ok()) return std::string("no");
              return architectures_of(selection) + std::to_string(selection.driver_version);
            }),
            "8.0 9.0 10.0 12.0 99000");
}

class CatalogTest : public testing::Test {
 protected:
  void SetUp() override {
    around_.by_name = false;
    around_.cache = root_ / "cache";
    selection_.variants = {&kTinyKernel, &kLocalKernel};
    selection_.targets = {{.major = 8, .driver_version = kAnyDriver}};
    selection_.driver_version = kAnyDriver;
  }

  // Skips the test if the machine has no NVRTC.
  void find_nvrtc_of_machine() {
    const std::string cache = around_.cache;
    around_ = surroundings_of_environment();
    around_.cache = cache;
    around_.dump = "";
    around_.pack = {};
    std::vector<NvrtcFile> found;
    const Status status = find_nvrtc(around_, kAnyDriver, found);
    ASSERT_TRUE(status.ok() || around_.nvrtc.empty()) << status.sentence;
    if (!status.ok()) GTEST_SKIP() << status.sentence;
  }

  std::string listed(tw_format format) const {
    std::vector<char> bytes(65536);
    Text text(bytes.data(), bytes.size());
    list_kernels(selection_, around_, format, text);
    EXPECT_EQ(text.needed(), std::string(bytes.data()).size() + 1);
    return bytes.data();
  }

  struct Told {
    std::vector<std::string> what;
    std::int64_t last = -1;
    std::int64_t total = 0;
    std::int64_t stop_at = -1;
  };
  Status build(Told& told) const {
    const auto tell = [](void* host, std::int64_t done, std::int64_t total, const char* what) {
      auto& into = *static_cast<Told*>(host);
      EXPECT_EQ(done, into.last + 1);
      into.last = done;
      into.total = total;
      into.what.emplace_back(what);
      return static_cast<std::int32_t>(done != into.stop_at);
    };
    return build_kernels(selection_, around_, {tell, &told});
  }

  static constexpr int kAnyDriver = 99000;
  ScratchFolder root_;
  Surroundings around_;
  Selection selection_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(CatalogTest, ListsWhereNothingIsThere) {
  const std::string text = listed(TW_TEXT);
  EXPECT_TRUE(has(text, "NVRTC   none. NVRTC, the GPU's run-time compiler, was not found")) << text;
  EXPECT_TRUE(has(text, "pack    none")) << text;
  EXPECT_TRUE(has(text, "cache   " + around_.cache + ", which the first kernel")) << text;
  EXPECT_TRUE(has(text, "2 variants for sm_80: 0 in the pack, 0 in the cache, 2 not compiled yet"))
      << text;
  const std::string json = listed(TW_JSON);
  EXPECT_TRUE(has(json, "\"nvrtc\": null")) << json;
  EXPECT_TRUE(has(json, "\"why_no_pack\": \"The library was built without a pack.\"")) << json;
  EXPECT_TRUE(has(json, "\"variant\": \"tiny_test_kernel\", \"arch\": \"sm_80\", \"from\": null"))
      << json;
  EXPECT_FALSE(std::filesystem::exists(around_.cache));
}

TEST_F(CatalogTest, ListsWhatIsInThePack) {
  Packed item{&kTinyKernel, {.major = 8}, {}};
  item.cubin.bytes.assign(321, std::byte{1});
  item.cubin.resources = {.registers = 40, .spill_bytes = 0, .local_bytes = 0, .shared_bytes = 100};
  item.cubin.seconds = 0.5;
  const std::vector<std::byte> pack = write_pack(std::span(&item, 1), 12080);
  around_.pack = pack;
  const std::string json = listed(TW_JSON);
  EXPECT_TRUE(has(json,
                  "\"from\": \"pack\", \"is_ptx\": false, \"registers\": 40, \"spill_bytes\": 0, "
                  "\"shared_bytes\": 1124, \"compile_seconds\": 0.500, \"cubin_bytes\": 321}"))
      << json;
  EXPECT_TRUE(has(json, "\"pack\": {\"kernels\": 1, \"bytes\": ")) << json;
  EXPECT_TRUE(has(listed(TW_TEXT), "compiled by NVRTC 12.8\n")) << listed(TW_TEXT);
}

TEST_F(CatalogTest, QuotesPathsInJson) {
  around_.cache = root_ / "a\"b\\c\nd";
  EXPECT_TRUE(has(listed(TW_JSON), "a\\\"b\\\\c\\u000ad\"")) << listed(TW_JSON);
}

// A path may hold any bytes; what is no UTF-8 would make the whole text unreadable.
TEST_F(CatalogTest, WritesJsonWhateverPathsAreCalled) {
  around_.cache = root_ / "\xff-\xc3\xa9-\xe2\x82-\xed\xa0\x80";
  EXPECT_TRUE(has(listed(TW_JSON), "/\\ufffd-\xc3\xa9-\\ufffd\\ufffd-\\ufffd\\ufffd\\ufffd\""))
      << listed(TW_JSON);
}

TEST(Select, KernelsWithFeaturesAreMeantByTheirNames) {
  Selection selection;
  ASSERT_TRUE(
      select(choice("tilewise_sm80_forward_float16_128_softcap_alibi", "sm_90"), selection).ok());
  ASSERT_EQ(selection.variants.size(), 1U);
  EXPECT_STREQ(selection.variants.front()->name, "tilewise_sm80_forward_float16_128_softcap_alibi");
  // A pattern selects no kernels with features but those in the cache, in a listing. To build one
  // takes its full name.
  Selection kept;
  ASSERT_TRUE(select(choice("*_softcap", "sm_90", 12040), kept).ok());
  EXPECT_TRUE(kept.variants.empty());
  const Status status = build_kernels(kept, surroundings_of_environment(), {});
  EXPECT_TRUE(has(status.sentence, "by its full name")) << status.sentence;
  Selection both;
  ASSERT_TRUE(select(choice("tilewise_sm80_merge,*_softcap", "sm_90", 12040), both).ok());
  EXPECT_FALSE(build_kernels(both, surroundings_of_environment(), {}).ok());
  EXPECT_NE(refusal(choice("*_hardcap", "sm_90")).find("There is no kernel '*_hardcap'"),
            std::string::npos);
}

// Kernels with features compiled in are listed only if the cache has them.
TEST_F(CatalogTest, ListsKernelsWithFeaturesThatAreKept) {
  find_nvrtc_of_machine();
  if (IsSkipped() || HasFatalFailure()) return;
  const std::string name = "tilewise_sm80_forward_float16_32_dropout";
  selection_.patterns = {"*"};
  EXPECT_FALSE(has(listed(TW_TEXT), name));
  const Selection before = selection_;
  ASSERT_TRUE(select(choice(name.c_str(), "sm_80", kAnyDriver), selection_).ok());
  Told told;
  ASSERT_TRUE(build(told).ok());
  selection_ = before;
  EXPECT_TRUE(has(listed(TW_JSON), "\"" + name + "\", \"arch\": \"sm_80\", \"from\": \"cache\""))
      << listed(TW_JSON);
  EXPECT_TRUE(has(listed(TW_TEXT), "3 variants for sm_80: 0 in the pack, 3 in the cache, 0 not"))
      << listed(TW_TEXT);
  selection_.patterns = {"*_alibi"};
  EXPECT_FALSE(has(listed(TW_TEXT), name));
}

TEST_F(CatalogTest, BuildsIntoTheCacheAndClearsIt) {
  find_nvrtc_of_machine();
  if (IsSkipped() || HasFatalFailure()) return;
  Told told;
  const Status status = build(told);
  ASSERT_TRUE(status.ok()) << status.sentence;
  EXPECT_EQ(told.last, 2);
  EXPECT_EQ(told.total, 2);
  EXPECT_EQ(told.what.front(), "");
  EXPECT_TRUE(has(told.what.back(), " for sm_80 is compiled")) << told.what.back();
  EXPECT_EQ(files_in(around_.cache), 2);
  EXPECT_TRUE(has(listed(TW_TEXT), "0 in the pack, 2 in the cache, 0 not compiled yet"));
  Told again;
  ASSERT_TRUE(build(again).ok());
  EXPECT_TRUE(has(again.what.back(), "is in the cache")) << again.what.back();
  core::int64 removed = 0;
  put_file(around_.cache + "/mine", "the user's");
  ASSERT_TRUE(clear_kernels(around_, removed).ok());
  EXPECT_EQ(removed, 2);
  EXPECT_EQ(files_in(around_.cache), 1);
}

TEST_F(CatalogTest, StopsAtWhatCannotBeCompiled) {
  find_nvrtc_of_machine();
  if (IsSkipped() || HasFatalFailure()) return;
  selection_.variants = {&kWrongKernel};
  Told told;
  EXPECT_TRUE(has(build(told).sentence, "no_such_word"));
  EXPECT_EQ(told.last, 0);
}

TEST_F(CatalogTest, LeavesWhatIsDumpedInItsFolder) {
  find_nvrtc_of_machine();
  if (IsSkipped() || HasFatalFailure()) return;
  selection_.variants = {&kTinyKernel};
  around_.dump = root_ / "dump";
  Told told;
  ASSERT_TRUE(build(told).ok());
  EXPECT_TRUE(std::filesystem::exists(root_ / "dump/tiny_test_kernel.sm_80.ptx"));
  EXPECT_FALSE(std::filesystem::exists(around_.cache));
}

TEST_F(CatalogTest, SaysWhatBuildingLacks) {
  Told told;
  EXPECT_TRUE(has(build(told).sentence, "pip install"));
  std::filesystem::copy_file(TILEWISE_FAKE_NVRTC, root_ / "libnvrtc.so.12");
  around_.places = {root_.path()};
  around_.cache = "";
  EXPECT_TRUE(has(build(told = {}).sentence, "There is no cache to compile kernels into."));
}

// The callback that is told of the progress may stop the build. What is compiled by then stays.
TEST_F(CatalogTest, StopsWhenItIsTold) {
  std::filesystem::copy_file(TILEWISE_FAKE_NVRTC, root_ / "libnvrtc.so.12");
  around_.places = {root_.path()};
  for (const int wanted : {0, 1}) {
    Told told;
    told.stop_at = wanted;
    // Several targets, because other threads may finish a build before they notice the stop.
    const Variant* const all[] = {&kTinyKernel};
    selection_.variants.assign(all, all + 1);
    for (int major : {9, 10, 12}) selection_.targets.push_back({major, 0, false, kAnyDriver});
    const Status status = build(told);
    EXPECT_EQ(status.code, TW_FAILED);
    const std::string sentence = "The caller has stopped it: " + std::to_string(wanted) + " of ";
    EXPECT_TRUE(has(status.sentence, sentence)) << status.sentence;
    EXPECT_EQ(told.last, wanted);
    selection_.targets.resize(1);
  }
  EXPECT_GE(files_in(around_.cache), 1);
}

TEST_F(CatalogTest, ListsAPackThatIsOfNoUse) {
  std::vector<std::byte> pack(200, std::byte{7});
  around_.pack = pack;
  EXPECT_TRUE(has(listed(TW_TEXT), "pack    damaged: nothing of it is used")) << listed(TW_TEXT);
  EXPECT_TRUE(has(listed(TW_JSON), "\"why_no_pack\": \"The pack is damaged")) << listed(TW_JSON);
  const std::string line = "tilewise pack of other kernels\n";
  around_.pack = std::as_bytes(std::span(line));
  EXPECT_TRUE(has(listed(TW_TEXT), "pack    left out: it was made of other kernels"));
  Packed item{&kTinyKernel, {.major = 8}, {}};
  item.cubin.bytes.assign(10, std::byte{1});
  pack = write_pack(std::span(&item, 1), 13000);
  around_.pack = pack;
  selection_.driver_version = 12080;
  EXPECT_TRUE(has(listed(TW_JSON),
                  "\"why_no_pack\": \"The pack was compiled by NVRTC 13.0, and a "
                  "driver of CUDA 12.8 cannot load that.\""))
      << listed(TW_JSON);
  EXPECT_TRUE(has(listed(TW_TEXT), "pack    1 kernel in ")) << listed(TW_TEXT);
}

TEST_F(CatalogTest, ClearsNoFolderThatIsNotTheUsersOwn) {
  core::int64 removed = 7;
  ASSERT_TRUE(clear_kernels(around_, removed).ok()) << "there is none yet";
  EXPECT_EQ(removed, 0);
  std::filesystem::create_directories(root_ / "open");
  chmod((root_ / "open").c_str(), 0777);
  std::filesystem::create_symlink(root_ / "open", root_ / "link");
  for (const char* name : {"open", "link"}) {
    around_.cache = root_ / name;
    const Status status = clear_kernels(around_, removed);
    EXPECT_EQ(status.code, TW_FAILED);
    EXPECT_TRUE(has(status.sentence, "No cache of kernels is emptied.")) << status.sentence;
  }
}

}  // namespace
}  // namespace tilewise::cuda
