// A cache of a test's own, and what is kept in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "backends/cuda/compiler/disk_cache.h"
#include "scratch_folder.h"

namespace tilewise::cuda {

inline constexpr uid_t kNobody = 65534;

inline CacheKey key_named(const char* name, int version = 12080) {
  return {Sha256().add_text(name).digest(), version, 7};
}

inline std::string name_of(const CacheKey& key) {
  return hexadecimal(key.program) + "-" + std::to_string(key.nvrtc_version) + "-7.cubin";
}

inline Cubin cubin_of(std::size_t bytes, int fill = 7) {
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

  // What `work` returns as a user who may read what is kept here, and write nothing of it. Root may
  // write everywhere, so another user tries.
  template <class Work>
  int in_a_child_that_reads(Work&& work) {
    damage([](std::string&) {});
    chmod(folder_.c_str(), 0500);
    if (geteuid() == 0) {
      chmod(root_.path().c_str(), 0755);
      for (const std::string& path : {root_ / "cache", folder_, file()})
        EXPECT_EQ(chown(path.c_str(), kNobody, kNobody), 0);
    }
    const int result = in_a_child([&] {
      constexpr int kIsNotThatUser = 100;
      return geteuid() == 0 && setuid(kNobody) != 0 ? kIsNotThatUser : work();
    });
    chmod(folder_.c_str(), 0700);
    return result;
  }

  ScratchFolder root_;
  std::string folder_ = root_ / "cache/tilewise";
  CacheKey key_ = key_named("kernel");
};

}  // namespace tilewise::cuda
