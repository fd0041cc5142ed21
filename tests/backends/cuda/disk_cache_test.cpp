// What can be wrong with the cache, each of which a call must survive.
#include "backends/cuda/compiler/disk_cache.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>

#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

CacheKey key_named(const char* name, int version = 12080) {
  return {Sha256().add_text(name).digest(), version, 7};
}

std::string name_of(const CacheKey& key) {
  return hexadecimal(key.program) + "-" + std::to_string(key.nvrtc_version) + "-7.cubin";
}

Cubin cubin_of(std::size_t bytes, int fill = 7) {
  Cubin cubin;
  cubin.bytes.assign(bytes, static_cast<std::byte>(fill));
  cubin.resources = {.registers = 42, .spill_bytes = 0, .local_bytes = 8, .shared_bytes = 256};
  cubin.seconds = 0.25;
  return cubin;
}

// What `work` returns in a process of its own.
template <class Work>
int in_a_child(Work&& work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class DiskCacheTest : public testing::Test {
 protected:
  std::string file() const { return folder_ + "/" + name_of(key_); }

  bool loads() const {
    Cubin out;
    return DiskCache(folder_).load(key_, out);
  }

  // Stores, then changes the file's bytes.
  template <class Change>
  void damage(Change&& change) {
    ASSERT_TRUE(DiskCache(folder_).store(key_, cubin_of(1000)));
    ASSERT_TRUE(loads());
    std::string text = file_text(file());
    change(text);
    put_file(file(), text);
  }

  ScratchFolder root_;
  std::string folder_ = root_ / "cache/tilewise";
  CacheKey key_ = key_named("kernel");
};

TEST_F(DiskCacheTest, GivesBackWhatItGot) {
  const DiskCache cache(folder_);
  ASSERT_TRUE(cache.usable()) << cache.why_not();
  Cubin out;
  EXPECT_FALSE(cache.load(key_, out));
  ASSERT_TRUE(cache.store(key_, cubin_of(1000)));
  ASSERT_TRUE(cache.load(key_, out));
  EXPECT_EQ(out.bytes, cubin_of(1000).bytes);
  EXPECT_EQ(out.from, From::kCache);
  EXPECT_EQ(out.resources.registers, 42);
  EXPECT_EQ(out.resources.shared_bytes, 256);
  EXPECT_DOUBLE_EQ(out.seconds, 0.25);
  EXPECT_FALSE(cache.load(key_named("another"), out));
  EXPECT_EQ(files_in(folder_), 1) << "what was written under another name stayed";
}

TEST_F(DiskCacheTest, SaysNothingWhereThingsAreKept) {
  EXPECT_EQ(DiskCache(folder_).why_not_kept(), "");
}

TEST_F(DiskCacheTest, MakesItsFolderForTheUserAlone) {
  umask(0);
  const DiskCache cache(folder_);
  struct stat about {};
  ASSERT_EQ(stat(folder_.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0700U);
  ASSERT_TRUE(cache.store(key_, cubin_of(10)));
  ASSERT_EQ(stat(file().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  umask(022);
}

TEST_F(DiskCacheTest, RefusesAFileWithOneBitChanged) {
  damage([](std::string&) {});
  const std::string whole = file_text(file());
  // All of the seal, and here and there of what follows.
  for (std::size_t at = 0; at < whole.size(); at += at < 112 ? 1 : 97) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    put_file(file(), changed);
    EXPECT_FALSE(loads()) << "byte " << at;
  }
  put_file(file(), whole);
  EXPECT_TRUE(loads());
}

TEST_F(DiskCacheTest, RefusesATruncatedFile) {
  damage([](std::string& text) { text.resize(text.size() / 2); });
  EXPECT_FALSE(loads());
  damage([](std::string& text) { text.resize(20); });
  EXPECT_FALSE(loads());
  damage([](std::string& text) { text.clear(); });
  EXPECT_FALSE(loads());
}

TEST_F(DiskCacheTest, RefusesAFileWithMoreBehindIt) {
  damage([](std::string& text) { text += "more"; });
  EXPECT_FALSE(loads());
}

// A whole cubin, but of another kernel.
TEST_F(DiskCacheTest, RefusesACubinUnderTheNameOfAnother) {
  ASSERT_TRUE(DiskCache(folder_).store(key_named("another"), cubin_of(1000)));
  fs::rename(folder_ + "/" + name_of(key_named("another")), file());
  EXPECT_FALSE(loads());
}

// Every byte is right, so the hash is too; but nobody else may write what a GPU is to run.
TEST_F(DiskCacheTest, RefusesAFileThatOthersMayWrite) {
  damage([](std::string&) {});
  chmod(file().c_str(), 0666);
  EXPECT_FALSE(loads());
  chmod(file().c_str(), 0600);
  EXPECT_TRUE(loads());
}

TEST_F(DiskCacheTest, FollowsNoLinkToAFile) {
  damage([](std::string&) {});
  fs::rename(file(), root_ / "elsewhere");
  fs::create_symlink(root_ / "elsewhere", file());
  EXPECT_FALSE(loads());
  // Writing replaces the link and leaves alone what it points to.
  ASSERT_TRUE(DiskCache(folder_).store(key_, cubin_of(10)));
  EXPECT_TRUE(loads());
  EXPECT_GT(file_text(root_ / "elsewhere").size(), 1000U);
}

TEST_F(DiskCacheTest, FollowsNoLinkToAFolder) {
  fs::create_directories(root_ / "target");
  chmod((root_ / "target").c_str(), 0700);
  fs::create_directories(root_ / "cache");
  fs::create_symlink(root_ / "target", folder_);
  const DiskCache cache(folder_);
  EXPECT_FALSE(cache.usable());
  EXPECT_EQ(cache.why_not(), folder_ + " is a link: name the folder itself in TILEWISE_CACHE.");
  EXPECT_FALSE(cache.store(key_, cubin_of(10)));
  EXPECT_EQ(files_in(root_ / "target"), 0);
}

TEST_F(DiskCacheTest, IsNoFolderThatOthersMayEnter) {
  for (const unsigned mode : {0777U, 0755U, 0710U, 0701U}) {
    fs::create_directories(folder_);
    chmod(folder_.c_str(), mode);
    const DiskCache cache(folder_);
    EXPECT_FALSE(cache.usable()) << std::oct << mode;
    EXPECT_NE(cache.why_not().find("chmod 700"), std::string::npos) << cache.why_not();
  }
}

TEST_F(DiskCacheTest, IsNoFolderOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "Only root can give a folder to another user.";
  fs::create_directories(folder_);
  chmod(folder_.c_str(), 0700);
  ASSERT_EQ(chown(folder_.c_str(), kNobody, kNobody), 0);
  const DiskCache cache(folder_);
  EXPECT_FALSE(cache.usable());
  EXPECT_NE(cache.why_not().find("another user"), std::string::npos) << cache.why_not();
  EXPECT_FALSE(cache.store(key_, cubin_of(10)));
  EXPECT_EQ(files_in(folder_), 0);
}

TEST_F(DiskCacheTest, RefusesAFileOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "Only root can give a file to another user.";
  damage([](std::string&) {});
  ASSERT_EQ(chown(file().c_str(), kNobody, kNobody), 0);
  EXPECT_FALSE(loads());
}

// Root may write everywhere, so another user tries.
TEST_F(DiskCacheTest, ReadsAFolderThatMayNotBeWritten) {
  damage([](std::string&) {});
  chmod(folder_.c_str(), 0500);
  if (geteuid() == 0) {
    chmod(root_.path().c_str(), 0755);
    for (const std::string& path : {root_ / "cache", folder_, file()})
      ASSERT_EQ(chown(path.c_str(), kNobody, kNobody), 0);
  }
  const int result = in_a_child([&] {
    if (geteuid() == 0 && setuid(kNobody) != 0) return 1;
    const DiskCache cache(folder_);
    Cubin out;
    if (!cache.usable() || !cache.load(key_, out)) return 2;
    if (cache.why_not_kept().find(folder_ + " may be read and not written: ") != 0) return 4;
    return cache.store(key_named("another"), cubin_of(10)) ? 3 : 0;
  });
  chmod(folder_.c_str(), 0700);
  EXPECT_EQ(result, 0);
}

// A small disk of its own, which a process may have where it may mount one.
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
  damage([](std::string&) {});
  chmod(folder_.c_str(), 0500);
  if (geteuid() == 0) {
    chmod(root_.path().c_str(), 0755);
    for (const std::string& path : {root_ / "cache", folder_, file()})
      ASSERT_EQ(chown(path.c_str(), kNobody, kNobody), 0);
  }
  const int result = in_a_child([&] {
    if (geteuid() == 0 && setuid(kNobody) != 0) return 1;
    std::string why;
    if (DiskCache(folder_).clear(why) != 0) return 2;
    return why == "1 of 1 files stay in " + folder_ + ": Permission denied." ? 0 : 3;
  });
  chmod(folder_.c_str(), 0700);
  EXPECT_EQ(result, 0);
}

// A limit of the process cuts a write short as a full disk does.
TEST_F(DiskCacheTest, LeavesNothingOfAFileThatDidNotFit) {
  const DiskCache cache(folder_);
  const int result = in_a_child([&] {
    const rlimit limit{5000, 5000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    if (cache.store(key_, cubin_of(20000))) return 2;
    const std::string why = "the last one could not be written to " + folder_ + ": File too large.";
    if (cache.why_not_kept() != why) return 3;
    return cache.store(key_, cubin_of(10)) && cache.why_not_kept().empty() &&
                   unlink(file().c_str()) == 0
               ? 0
               : 4;
  });
  EXPECT_EQ(result, 0);
  EXPECT_EQ(files_in(folder_), 0);
  EXPECT_FALSE(loads());
}

TEST_F(DiskCacheTest, WaitsForNoPipeAndReadsNoFolder) {
  ASSERT_TRUE(DiskCache(folder_).usable());
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  EXPECT_FALSE(loads());
  ASSERT_EQ(unlink(file().c_str()), 0);
  fs::create_directories(file() + "/inside");
  EXPECT_FALSE(loads());
  EXPECT_FALSE(DiskCache(folder_).store(key_, cubin_of(10)));
  EXPECT_EQ(files_in(folder_), 1) << "a file under another name stayed";
}

TEST_F(DiskCacheTest, ReadsNoEndlessFile) {
  ASSERT_TRUE(DiskCache(folder_).usable());
  put_file(file(), "x");
  chmod(file().c_str(), 0600);
  ASSERT_EQ(truncate(file().c_str(), off_t{1} << 40), 0);
  EXPECT_FALSE(loads());
}

TEST_F(DiskCacheTest, IsNoFileAndHasNoPathOfAFile) {
  put_file(root_ / "file", "");
  for (const char* name : {"file", "file/below", "file/below/that"}) {
    const DiskCache cache(root_ / name);
    EXPECT_FALSE(cache.usable()) << name;
    EXPECT_FALSE(cache.why_not().empty());
  }
  EXPECT_FALSE(DiskCache("").usable());
  EXPECT_FALSE(DiskCache("relative/folder").usable());
  EXPECT_FALSE(fs::exists("relative"));
}

TEST_F(DiskCacheTest, IsFilledByManyProcessesAtOnce) {
  constexpr int kProcesses = 8, kRounds = 40;
  pid_t children[kProcesses];
  for (int i = 0; i < kProcesses; ++i) {
    children[i] = fork();
    if (children[i] != 0) continue;
    for (int round = 0; round < kRounds; ++round) {
      const DiskCache cache(folder_);
      Cubin out;
      if (!cache.store(key_, cubin_of(100000, i)) || !cache.load(key_, out)) _exit(1);
      if (out.bytes.size() != 100000 || out.bytes.front() != out.bytes.back()) _exit(2);
    }
    _exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(files_in(folder_), 1);
}

// A process of the same number writes in another container, into the same folder.
TEST_F(DiskCacheTest, TakesNoFileFromAnotherWhoWritesIt) {
  const DiskCache cache(folder_);
  for (int count = 0; count < 700; ++count)
    put_file(folder_ + "/.new-" + std::to_string(getpid()) + "-" + std::to_string(count), "half");
  EXPECT_TRUE(cache.store(key_, cubin_of(10)));
  EXPECT_TRUE(loads());
  EXPECT_EQ(files_in(folder_), 701);
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

// A clock that was set back has left one of next year.
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

// What another one removes at the same time is gone, which is all that was asked.
TEST_F(DiskCacheTest, IsClearedByManyProcessesAtOnce) {
  constexpr int kProcesses = 4, kFiles = 300;
  std::string why;
  ASSERT_TRUE(DiskCache(folder_).usable());
  for (int n = 0; n < kFiles; ++n)
    put_file(folder_ + "/" + name_of(key_named(std::to_string(n).c_str())), "kept");
  pid_t children[kProcesses];
  for (pid_t& child : children) {
    child = fork();
    if (child != 0) continue;
    DiskCache(folder_).clear(why);
    _exit(why.empty() ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(files_in(folder_), 0);
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

// What is promised to be made has to be possible. Root may write where others may not, but not
// among what the kernel shows.
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

// By their names they might be the cache's own.
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
