// What the environment says of the cache's folder.
#include "backends/cuda/compiler/surroundings.h"

#include <gtest/gtest.h>

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
  home.set(nullptr);
  EXPECT_EQ(surroundings_of_environment().cache, "");
}

TEST(CacheFolder, IsNoneThatEverybodyWritesTo) {
  const Variable named("TILEWISE_CACHE", nullptr);
  const Variable shared("XDG_CACHE_HOME", nullptr);
  for (const char* folder : {"/tmp", "/tmp/home", "/var/tmp/x", "/dev/shm"}) {
    const Variable home("HOME", folder);
    EXPECT_EQ(surroundings_of_environment().cache, "") << folder;
  }
  const Variable home("HOME", "/tmpfs/home");
  EXPECT_EQ(surroundings_of_environment().cache, "/tmpfs/home/.cache/tilewise");
}

}  // namespace
}  // namespace tilewise::cuda
