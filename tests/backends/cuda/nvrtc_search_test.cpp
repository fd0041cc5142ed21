// Which NVRTC is taken. The files only look like one, because a search opens none.
#include "backends/cuda/compiler/nvrtc_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "../../environment.h"
#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

namespace fs = std::filesystem;

class NvrtcSearchTest : public testing::Test {
 protected:
  void SetUp() override { around_.by_name = false; }

  // NVRTC as it lies in `folder`: the library, and the one that tells its version.
  void install(const std::string& folder, const std::string& version) {
    const std::string major = version.substr(0, version.find('.'));
    put_file(root_ / (folder + "/libnvrtc.so." + major), folder);
    put_file(root_ / (folder + "/libnvrtc-builtins.so." + version), "");
    around_.places.push_back(root_ / folder);
  }

  Status find(int driver_version) { return find_nvrtc(around_, driver_version, found_); }

  ScratchFolder root_;
  Surroundings around_;
  std::vector<NvrtcFile> found_;
};

TEST_F(NvrtcSearchTest, TakesTheNewestOfTheDriversMajorWhateverItsMinor) {
  install("a", "12.8"), install("b", "13.5"), install("c", "12.9"), install("d", "14.0");
  ASSERT_TRUE(find(13000).ok());
  ASSERT_EQ(found_.size(), 3U);
  EXPECT_EQ(found_[0].version, 13050);
  EXPECT_EQ(found_[0].path, root_ / "b/libnvrtc.so.13");
  EXPECT_EQ(found_[0].builtins, root_ / "b/libnvrtc-builtins.so.13.5");
  EXPECT_EQ(found_[1].version, 12090);
  EXPECT_EQ(found_[2].version, 12080);
}

TEST_F(NvrtcSearchTest, TakesNoneOfANewerMajorThanTheDrivers) {
  install("a", "12.8"), install("b", "13.0");
  ASSERT_TRUE(find(12040).ok());
  ASSERT_EQ(found_.size(), 1U);
  EXPECT_EQ(found_[0].version, 12080);
}

TEST_F(NvrtcSearchTest, SaysThatTheOnlyOneIsTooNew) {
  install("a", "13.0");
  const Status status = find(12040);
  EXPECT_EQ(status.code, TW_FAILED);
  const std::string sentence = status.sentence;
  EXPECT_NE(sentence.find("NVRTC 13.0"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("CUDA 12.4"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("nvidia-cuda-nvrtc-cu12"), std::string::npos) << sentence;
}

TEST_F(NvrtcSearchTest, SaysWhereItLookedAndWhatToDo) {
  around_.places = {root_ / "nowhere", root_ / "neither"};
  const Status status = find(12080);
  EXPECT_EQ(status.code, TW_FAILED);
  const std::string sentence = status.sentence;
  EXPECT_NE(sentence.find(root_ / "nowhere" + ", " + (root_ / "neither")), std::string::npos)
      << sentence;
  EXPECT_NE(sentence.find("pip install nvidia-cuda-nvrtc-cu12"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("TILEWISE_NVRTC"), std::string::npos) << sentence;
}

// A sentence has a largest length. Places that do not fit are left out whole.
TEST_F(NvrtcSearchTest, CutsNoPathInTwo) {
  for (int n = 0; n < 40; ++n) around_.places.push_back(root_ / ("nowhere-" + std::to_string(n)));
  const std::string sentence = find(99000).sentence;
  EXPECT_TRUE(sentence.ends_with(", and more places.")) << sentence;
  EXPECT_NE(sentence.find("pip install nvidia-cuda-nvrtc-cu12,"), std::string::npos) << sentence;
}

TEST_F(NvrtcSearchTest, TakesOneThatIsWholeBeforeANewerOneThatIsNot) {
  install("a", "12.8");
  put_file(root_ / "b/libnvrtc.so.13", "alone");
  around_.places.push_back(root_ / "b");
  ASSERT_TRUE(find(13000).ok());
  EXPECT_EQ(found_[0].path, root_ / "a/libnvrtc.so.12");
  EXPECT_EQ(found_.size(), 2U);
}

TEST_F(NvrtcSearchTest, TakesTheNamedOneAndNoOther) {
  install("a", "12.8"), install("b", "13.5");
  around_.nvrtc = root_ / "a/libnvrtc.so.12";
  ASSERT_TRUE(find(13000).ok());
  ASSERT_EQ(found_.size(), 1U);
  EXPECT_EQ(found_[0].version, 12080);
  around_.nvrtc = root_ / "b/libnvrtc.so.13";
  EXPECT_NE(std::string(find(12080).sentence).find("newer than the driver"), std::string::npos);
  around_.nvrtc = root_ / "missing.so";
  EXPECT_NE(std::string(find(13000).sentence).find("which is no file"), std::string::npos);
  around_.nvrtc = root_.path();
  EXPECT_NE(std::string(find(13000).sentence).find("which is no file"), std::string::npos);
}

// As toolkits and distributions lay it out: the name with the major is a link.
TEST_F(NvrtcSearchTest, FollowsLinksToTheVersionAndCountsALibraryOnce) {
  put_file(root_ / "real/libnvrtc.so.12.6.77", "library");
  put_file(root_ / "real/libnvrtc-builtins.so.12.6.77", "");
  put_file(root_ / "real/libnvrtc-builtins.so.12.9", "of another");
  for (const char* folder : {"lib64", "again"}) {
    fs::create_directories(root_ / folder);
    fs::create_symlink(root_ / "real/libnvrtc.so.12.6.77", root_ / folder + "/libnvrtc.so.12");
    around_.places.push_back(root_ / folder);
  }
  ASSERT_TRUE(find(12080).ok());
  ASSERT_EQ(found_.size(), 1U);
  EXPECT_EQ(found_[0].version, 12060);
  EXPECT_TRUE(found_[0].exact);
  EXPECT_EQ(found_[0].builtins, root_ / "real/libnvrtc-builtins.so.12.6.77");
}

TEST_F(NvrtcSearchTest, KnowsTheMajorAloneWhereTheSecondLibraryIsMissing) {
  put_file(root_ / "a/libnvrtc.so.12", "");
  around_.places = {root_ / "a"};
  ASSERT_TRUE(find(12080).ok());
  EXPECT_EQ(found_[0].version, 12000);
  EXPECT_FALSE(found_[0].exact);
}

// A folder may have any name. Each of these would mean others, or none, as a pattern.
TEST_F(NvrtcSearchTest, TakesNamesOfFoldersLiterally) {
  const Variable none("TILEWISE_NVRTC", nullptr);
  for (const char* name : {"a[1]", "b*", "c?", "d\\e", "[f-", "g]"}) {
    const std::string folder = root_ / name;
    for (const char* file : {"libnvrtc.so.12", "libnvrtc-builtins.so.12.8"})
      put_file(folder + "/lib64/" + file, std::string(name) + file);
    put_file(folder + "/torch/lib/libnvrtc-b51b459d.so.13", name);
    // What the same names mean as patterns.
    for (const char* other : {"a1", "bother", "cx", "de"})
      put_file(root_ / (std::string(other) + "/lib64/libnvrtc.so.12"), other);
    const Variable toolkit("CUDA_HOME", folder.c_str());
    const Variable packages("TILEWISE_NVRTC_PATH", folder.c_str());
    around_ = surroundings_of_environment();
    (void)find(99000);
    std::vector<std::string> ours;
    for (const NvrtcFile& file : found_)
      if (file.path.starts_with(root_.path())) ours.push_back(file.path);
    const std::vector<std::string> wanted{folder + "/lib64/libnvrtc.so.12",
                                          folder + "/torch/lib/libnvrtc-b51b459d.so.13"};
    EXPECT_EQ(ours, wanted) << name;
    EXPECT_TRUE(std::any_of(found_.begin(), found_.end(), [&](const NvrtcFile& file) {
      return file.builtins == folder + "/lib64/libnvrtc-builtins.so.12.8";
    })) << name;
  }
}

TEST_F(NvrtcSearchTest, NamesPlacesAsTheyAreCalled) {
  around_.places = {pattern_of(root_ / "a[1]*")};
  const std::string sentence = find(12080).sentence;
  EXPECT_NE(sentence.find("Searched: " + (root_ / "a[1]*") + "."), std::string::npos) << sentence;
}

// Finds the library in each layout, by the variable that leads there.
TEST_F(NvrtcSearchTest, SearchesEveryLayout) {
  const Variable none("TILEWISE_NVRTC", nullptr);
  const struct {
    const char *variable, *value, *library;
  } layouts[] = {
      {"TILEWISE_NVRTC_PATH", "packages", "packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"},
      {"TILEWISE_NVRTC_PATH", "packages", "packages/nvidia/cu13/lib/libnvrtc.so.13"},
      {"TILEWISE_NVRTC_PATH", "packages", "packages/torch/lib/libnvrtc-b51b459d.so.12"},
      {"TILEWISE_NVRTC_PATH", "own", "own/libnvrtc.so.12"},
      {"VIRTUAL_ENV", "env",
       "env/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"},
      {"HOME", "home", "home/.local/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13"},
      {"CONDA_PREFIX", "conda", "conda/lib/libnvrtc.so.12"},
      {"CONDA_PREFIX", "conda", "conda/targets/x86_64-linux/lib/libnvrtc.so.12"},
      {"CUDA_HOME", "cuda", "cuda/lib64/libnvrtc.so.13"},
      {"CUDA_PATH", "cuda", "cuda/targets/sbsa-linux/lib/libnvrtc.so.13"},
      {"LD_LIBRARY_PATH", "loader", "loader/libnvrtc.so.12"},
  };
  for (const auto& layout : layouts) {
    const std::string path = root_ / layout.library;
    put_file(path, layout.library);
    const Variable named(layout.variable, (root_ / layout.value).c_str());
    around_ = surroundings_of_environment();
    (void)find(99000);
    EXPECT_TRUE(std::any_of(found_.begin(), found_.end(), [&](const NvrtcFile& file) {
      return file.path == path;
    })) << path;
    fs::remove(path);
  }
}

TEST_F(NvrtcSearchTest, LeavesOutTheStubsOfAToolkit) {
  put_file(root_ / "cuda/lib64/stubs/libnvrtc.so.12", "");
  const Variable none("TILEWISE_NVRTC", nullptr);
  const Variable named("CUDA_HOME", (root_ / "cuda").c_str());
  around_ = surroundings_of_environment();
  (void)find(99000);
  for (const NvrtcFile& file : found_)
    EXPECT_EQ(file.path.find(root_.path()), std::string::npos) << file.path;
}

// Torch's folder holds the second library under a name like that of the first.
TEST_F(NvrtcSearchTest, TakesNotTheSecondLibraryForTheFirst) {
  put_file(root_ / "torch/lib/libnvrtc-b51b459d.so.12", "");
  put_file(root_ / "torch/lib/libnvrtc-builtins.so.12.4", "");
  around_.places = {root_ / "torch/lib"};
  ASSERT_TRUE(find(12080).ok());
  ASSERT_EQ(found_.size(), 1U);
  EXPECT_EQ(found_[0].path, root_ / "torch/lib/libnvrtc-b51b459d.so.12");
  EXPECT_EQ(found_[0].version, 12040);
}

// The working folder of a program may be anybody's.
TEST_F(NvrtcSearchTest, TakesNoRelativeFolder) {
  for (const char* variable : {"TILEWISE_NVRTC_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CUDA_HOME",
                               "CUDA_PATH", "HOME", "LD_LIBRARY_PATH"}) {
    const Variable named(variable, "relative:.");
    for (const std::string& place : surroundings_of_environment().places)
      EXPECT_TRUE(place.starts_with('/')) << variable << ": " << place;
  }
}

}  // namespace
}  // namespace tilewise::cuda
