#include "backends/cuda/compiler/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace tilewise::cuda {

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
    if (some <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(some));
  }
  return true;
}

bool write_file(int folder, const std::string& name, std::span<const std::byte> bytes) {
  static std::atomic<unsigned> count{0};
  char temporary[64];
  std::snprintf(temporary, sizeof temporary, ".new-%ld-%u", static_cast<long>(getpid()), ++count);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  Descriptor file(openat(folder, temporary, kFlags, 0600));
  // Left by a process of the same number that was killed.
  if (!file.open() && errno == EEXIST && unlinkat(folder, temporary, 0) == 0)
    file = Descriptor(openat(folder, temporary, kFlags, 0600));
  if (!file.open()) return false;
  const bool written = file.write_all(bytes);
  if (file.close() && written && renameat(folder, temporary, folder, name.c_str()) == 0)
    return true;
  unlinkat(folder, temporary, 0);
  return false;
}

}  // namespace tilewise::cuda
