// Memory that a test hands out and that nobody may touch, or not beyond its end.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

namespace tilewise {

// Pages without rights: a device's memory, as the processor sees it.
class UntouchableMemory {
 public:
  UntouchableMemory()
      : pages_(static_cast<std::byte*>(
            mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~UntouchableMemory() { munmap(pages_, kBytes); }
  UntouchableMemory(const UntouchableMemory&) = delete;
  UntouchableMemory& operator=(const UntouchableMemory&) = delete;

  void* take(std::size_t bytes) {
    std::byte* piece = pages_ + used_;
    used_ += (bytes + 63) / 64 * 64;
    EXPECT_LE(used_, kBytes);
    return piece;
  }

 private:
  static constexpr std::size_t kBytes = 1 << 20;

  std::byte* pages_;
  std::size_t used_ = 0;
};

// A copy of the first `bytes` of something, behind which memory ends.
class EndsAfter {
 public:
  EndsAfter(const void* from, std::size_t bytes)
      : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))),
        pages_(static_cast<std::byte*>(
            mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        at_(pages_ + page_ - bytes) {
    std::memcpy(at_, from, bytes);
    mprotect(pages_ + page_, page_, PROT_NONE);
  }
  ~EndsAfter() { munmap(pages_, 2 * page_); }
  EndsAfter(const EndsAfter&) = delete;
  EndsAfter& operator=(const EndsAfter&) = delete;

  void* get() const { return at_; }

 private:
  std::size_t page_;
  std::byte *pages_, *at_;
};

}  // namespace tilewise
