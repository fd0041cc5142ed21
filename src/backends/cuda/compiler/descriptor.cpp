#include "backends/cuda/compiler/descriptor.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <utility>

namespace tilewise::cuda {
namespace {

// A random number, different in every process, even in another PID namespace.
std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (getrandom(&number, sizeof number, GRND_NONBLOCK) == sizeof number) return number;
  static std::atomic<std::uint64_t> count{0};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000000U +
         static_cast<std::uint64_t>(now.tv_nsec) + (static_cast<std::uint64_t>(getpid()) << 32U) +
         ++count;
}

// Creates a new file and returns its name in `name`. An existing file of that name is never reused,
// because another process may be writing it.
Descriptor create_file(int folder, char (&name)[32]) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  constexpr int kAttempts = 8;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::snprintf(name, sizeof name, "%s%016llx", kUnfinished,
                  static_cast<unsigned long long>(random_number()));
    Descriptor file(openat(folder, name, kFlags, 0600));
    if (file.open() || errno != EEXIST) return file;
  }
  return Descriptor();
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& from) noexcept {
  std::swap(number_, from.number_);
  return *this;
}

bool Descriptor::close() {
  const int number = std::exchange(number_, -1);
  return number < 0 || ::close(number) == 0;
}

bool Descriptor::read_all(std::size_t bytes, std::vector<std::byte>& into) const {
  into.resize(bytes);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t some = ::read(number_, into.data() + done, bytes - done);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return false;
    done += static_cast<std::size_t>(some);
  }
  return true;
}

bool Descriptor::write_all(std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t some = ::write(number_, bytes.data(), bytes.size());
    if (some < 0 && errno == EINTR) continue;
    if (some == 0) errno = ENOSPC;
    if (some <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(some));
  }
  return true;
}

bool write_file(int folder, const std::string& name, std::span<const std::byte> bytes) {
  // Writing beyond this limit would end the process (SIGXFSZ).
  rlimit most{};
  if (getrlimit(RLIMIT_FSIZE, &most) == 0 && bytes.size() > most.rlim_cur) {
    errno = EFBIG;
    return false;
  }
  char temporary[32];
  Descriptor file = create_file(folder, temporary);
  if (!file.open()) return false;
  const bool written = file.write_all(bytes);
  if (file.close() && written && renameat(folder, temporary, folder, name.c_str()) == 0)
    return true;
  const int why = errno;
  unlinkat(folder, temporary, 0);
  errno = why;
  return false;
}

}  // namespace tilewise::cuda
