// What is said of a cache, and what clearing removes and leaves.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "kept_cubins.h"

namespace tilewise::cuda {
namespace {

namespace fs = std::filesystem;

TEST_F(DiskCacheTest, SaysNothingWhereThingsAreKept) {
  EXPECT_EQ(DiskCache(folder_).why_not_kept(), "");
}

// On a small tmpfs, where the process may mount one.
TEST_F(DiskCacheTest, SaysThatTheDiskIsFull) {
  fs::create_directories(folder_);
  constexpr int kMayNotMount = 77;
  const int result = in_a_child([&] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", folder_.c_str(), "tmpfs", 0, "size=64k,mode=700") != 0)
      return kMayNotMount;
    const DiskCache cache(folder_);
    const std::string why = cache.why_not_kept();
    if (why != "the disk of " + folder_ + " has 64 KB left, and a kernel may take 256.") return 1;
    if (cache.store(key_, cubin_of(100000))) return 2;
    return files_in(folder_) == 0 ? 0 : 3;
  });
  if (result == kMayNotMount) GTEST_SKIP() << "No disk may be mounted here.";
  EXPECT_EQ(result, 0);
}

TEST_F(DiskCacheTest, SaysWhatItCannotClear) {
  const int result = in_a_child_that_reads([&] {
    std::string why;
    if (DiskCache(folder_).clear(why) != 0) return 2;
    return why == "1 of 1 files stay in " + folder_ + ": Permission denied." ? 0 : 3;
  });
  EXPECT_EQ(result, 0);
}

TEST_F(DiskCacheTest, ClearsWhatIsBeingWrittenOnlyWhenItIsOld) {
  const DiskCache cache(folder_);
  const std::string file = folder_ + "/.new-0123456789abcdef";
  put_file(file, "half");
  EXPECT_EQ(cache.clear(), 0);
  EXPECT_TRUE(fs::exists(file));
  fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_EQ(cache.clear(), 1);
}

// A temporary file that lies in the future, because the clock was set back since, is cleared.
TEST_F(DiskCacheTest, ClearsWhatWasWrittenInTheFuture) {
  const DiskCache cache(folder_);
  const std::string file = folder_ + "/.new-0123456789abcdef";
  put_file(file, "half");
  fs::last_write_time(file, fs::file_time_type::clock::now() + std::chrono::hours(10000));
  EXPECT_EQ(cache.clear(), 1);
}

TEST_F(DiskCacheTest, NamesAFolderThatLiesInTheWay) {
  const DiskCache cache(folder_);
  ASSERT_TRUE(cache.store(key_named("another"), cubin_of(10)));
  fs::create_directories(file());
  EXPECT_EQ(cache.why_not_kept(),
            file() + " is a folder, in whose place a kernel cannot be kept: remove it.");
  std::string why;
  EXPECT_EQ(cache.clear(why), 1);
  EXPECT_EQ(why, "1 of 2 files stay in " + folder_ + ": " + name_of(key_) + " is a folder.");
}

// A file that another process removes at the same time is no failure. Whether two processes meet at
// a file is chance, so there are several rounds.
TEST_F(DiskCacheTest, IsClearedByManyProcessesAtOnce) {
  constexpr int kProcesses = 4, kFiles = 200, kRounds = 8;
  ASSERT_TRUE(DiskCache(folder_).usable());
  for (int round = 0; round < kRounds; ++round) {
    for (int n = 0; n < kFiles; ++n)
      put_file(folder_ + "/" + name_of(key_named(std::to_string(n).c_str())), "kept");
    // The children begin together, when the parent closes its end of the pipe.
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    pid_t children[kProcesses];
    for (pid_t& child : children) {
      child = fork();
      if (child != 0) continue;
      close(ends[1]);
      char none = 0;
      if (read(ends[0], &none, 1) != 0) _exit(2);
      std::string why;
      DiskCache(folder_).clear(why);
      _exit(why.empty() ? 0 : 1);
    }
    close(ends[0]);
    close(ends[1]);
    for (const pid_t child : children) {
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_EQ(status, 0);
    }
    EXPECT_EQ(files_in(folder_), 0);
  }
}

TEST_F(DiskCacheTest, FindsWhatAnyNvrtcHasMadeThatTheDriverLoads) {
  const DiskCache cache(folder_);
  for (const int version : {12010, 12080, 13000})
    ASSERT_TRUE(cache.store(key_named("kernel", version), cubin_of(10, version / 100)));
  ASSERT_TRUE(cache.store(key_named("another", 12090), cubin_of(10)));
  const auto newest = [&](int driver) {
    Cubin out;
    CacheKey key;
    return cache.load_any(key_.program, driver, out, key) ? key.nvrtc_version : 0;
  };
  EXPECT_EQ(newest(13000), 13000);
  EXPECT_EQ(newest(12000), 12080);
  EXPECT_EQ(newest(11080), 0);
  put_file(file(), "damaged");
  chmod(file().c_str(), 0600);
  EXPECT_EQ(newest(12000), 12010);
}

// A folder that is_absent() and will be made later must be one that can be made. Root may write
// anywhere but in /proc, so that is where the test tries.
TEST_F(DiskCacheTest, PromisesNoFolderThatCannotBeMade) {
  for (const char* name : {"/proc/self/cache", "/proc/self/cache/deeper"})
    for (const Missing missing : {Missing::kLeave, Missing::kMake}) {
      const DiskCache cache(name, missing);
      EXPECT_FALSE(cache.is_absent());
      EXPECT_EQ(cache.why_not(), std::string(name) +
                                     " cannot be made: no folder can be made in /proc/self. Name "
                                     "another one in TILEWISE_CACHE.");
    }
  chmod(root_.path().c_str(), 0755);
  const int result = in_a_child([&] {
    if (geteuid() == 0 && setuid(kNobody) != 0) return 1;
    return geteuid() == kNobody && DiskCache(folder_, Missing::kLeave).is_absent() ? 2 : 0;
  });
  EXPECT_EQ(result, 0);
  EXPECT_TRUE(DiskCache(folder_, Missing::kLeave).is_absent());
  for (const char* name : {"/", "//", "/tmp/.", "/tmp/.."})
    EXPECT_NE(DiskCache(name).why_not().find("names no folder"), std::string::npos) << name;
}

TEST_F(DiskCacheTest, ClearsWhatItHasWrittenAndNothingElse) {
  const DiskCache cache(folder_);
  ASSERT_TRUE(cache.store(key_, cubin_of(10)));
  ASSERT_TRUE(cache.store(key_named("another"), cubin_of(10)));
  put_file(folder_ + "/mine.txt", "the user's");
  EXPECT_EQ(cache.clear(), 2);
  EXPECT_EQ(files_in(folder_), 1);
  EXPECT_EQ(cache.clear(), 0);
}

// Files with names like the cache's own, which it did not write, stay.
TEST_F(DiskCacheTest, ClearsNothingThatOnlyLooksLikeItsOwn) {
  const DiskCache cache(folder_);
  ASSERT_TRUE(cache.store(key_, cubin_of(10)));
  const std::string other = name_of(key_named("another"));
  put_file(root_ / "elsewhere", "the user's");
  put_file(folder_ + "/kernel.cubin", "the user's");
  put_file(folder_ + "/" + other.substr(1), "a digit short");
  put_file(folder_ + "/G" + other.substr(1), "G is no digit");
  put_file(folder_ + "/.new-thoughts", "the user's");
  put_file(folder_ + "/" + other + ".old", "the user's");
  fs::create_symlink(root_ / "elsewhere", folder_ + "/" + other);
  EXPECT_EQ(cache.clear(), 1);
  EXPECT_EQ(files_in(folder_), 6);
  EXPECT_TRUE(fs::exists(root_ / "elsewhere"));
}

TEST_F(DiskCacheTest, ClearsNoFileOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "Only root can give a file to another user.";
  const DiskCache cache(folder_);
  ASSERT_TRUE(cache.store(key_, cubin_of(10)));
  ASSERT_EQ(chown(file().c_str(), kNobody, kNobody), 0);
  EXPECT_EQ(cache.clear(), 0);
  EXPECT_EQ(files_in(folder_), 1);
}

TEST_F(DiskCacheTest, MakesNothingWhereItIsOnlyLookedAt) {
  const DiskCache cache(folder_, Missing::kLeave);
  EXPECT_FALSE(cache.usable());
  EXPECT_TRUE(cache.is_absent());
  EXPECT_FALSE(fs::exists(root_ / "cache"));
  EXPECT_EQ(cache.clear(), 0);
  ASSERT_TRUE(DiskCache(folder_).store(key_, cubin_of(10)));
  Cubin out;
  EXPECT_TRUE(DiskCache(folder_, Missing::kLeave).load(key_, out));
  put_file(root_ / "file", "");
  EXPECT_FALSE(DiskCache(root_ / "file", Missing::kLeave).is_absent());
}

}  // namespace
}  // namespace tilewise::cuda
