// What the environment says of the cache's folder.
#include "backends/cuda/compiler/surroundings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "../../environment.h"

namespace tilewise::cuda {
namespace {

TEST(CacheFolder, IsTheFirstThatTheEnvironmentNames) {
  const Variable named("TILEWISE_CACHE", "/mine");
  const Variable shared("XDG_CACHE_HOME", "/caches");
  const Variable home("HOME", "/home/someone");
  EXPECT_EQ(surroundings_of_environment().cache, "/mine");
  named.set("");
  EXPECT_EQ(surroundings_of_environment().cache, "");
  named.set(nullptr);
  EXPECT_EQ(surroundings_of_environment().cache, "/caches/tilewise");
  shared.set("relative");
  EXPECT_EQ(surroundings_of_environment().cache, "/home/someone/.cache/tilewise");
  shared.set(nullptr);
  EXPECT_EQ(surroundings_of_environment().cache, "/home/someone/.cache/tilewise");
  EXPECT_EQ(surroundings_of_environment().why_no_cache, "");
  home.set(nullptr);
  EXPECT_EQ(surroundings_of_environment().cache, "");
  EXPECT_EQ(surroundings_of_environment().why_no_cache,
            "HOME names no folder: name one in TILEWISE_CACHE.");
  named.set("");
  EXPECT_EQ(surroundings_of_environment().why_no_cache, "TILEWISE_CACHE is set and empty.");
}

// A program may add the folder of its packages, before or after the first search. It counts once.
TEST(Folders, OfNvrtcAreAdded) {
  const auto count = [](const char* place) {
    const auto& places = surroundings().places;
    return std::count(places.begin(), places.end(), place);
  };
  const std::string cache = surroundings().cache;
  for (int round = 0; round < 2; ++round) add_folder_of_nvrtc("/no/such/site[1]-packages");
  EXPECT_EQ(count("/no/such/site\\[1\\]-packages"), 1);
  EXPECT_EQ(count("/no/such/site\\[1\\]-packages/nvidia/cuda_nvrtc/lib"), 1);
  EXPECT_EQ(surroundings().cache, cache);
}

TEST(CacheFolder, IsNoneThatEverybodyWritesTo) {
  const Variable named("TILEWISE_CACHE", nullptr);
  const Variable shared("XDG_CACHE_HOME", nullptr);
  for (const char* folder : {"/tmp", "/tmp/home", "/var/tmp/x", "/dev/shm"}) {
    const Variable home("HOME", folder);
    EXPECT_EQ(surroundings_of_environment().cache, "") << folder;
    EXPECT_EQ(surroundings_of_environment().why_no_cache,
              std::string(folder) +
                  "/.cache lies where everybody may write: name another folder in TILEWISE_CACHE.");
  }
  const Variable home("HOME", "/tmpfs/home");
  EXPECT_EQ(surroundings_of_environment().cache, "/tmpfs/home/.cache/tilewise");
}

}  // namespace
}  // namespace tilewise::cuda
