// What can be wrong with the cache, each of which a call must survive.
#include "backends/cuda/compiler/disk_cache.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "kept_cubins.h"

namespace tilewise::cuda {
namespace {

namespace fs = std::filesystem;

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
  // Every byte of the first 112, which are the seal, and then every 97th.
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

TEST_F(DiskCacheTest, ReadsAFolderThatMayNotBeWritten) {
  const int result = in_a_child_that_reads([&] {
    const DiskCache cache(folder_);
    Cubin out;
    if (!cache.usable() || !cache.load(key_, out)) return 2;
    if (cache.why_not_kept().find(folder_ + " may be read and not written: ") != 0) return 4;
    return cache.store(key_named("another"), cubin_of(10)) ? 3 : 0;
  });
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

// Another process, with the same id in another container, writes into the same folder.
TEST_F(DiskCacheTest, TakesNoFileFromAnotherWhoWritesIt) {
  const DiskCache cache(folder_);
  for (int count = 0; count < 700; ++count)
    put_file(folder_ + "/.new-" + std::to_string(getpid()) + "-" + std::to_string(count), "half");
  EXPECT_TRUE(cache.store(key_, cubin_of(10)));
  EXPECT_TRUE(loads());
  EXPECT_EQ(files_in(folder_), 701);
}

}  // namespace
}  // namespace tilewise::cuda
