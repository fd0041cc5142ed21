#include "cli/output_files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

constexpr std::size_t kSlots = 32;  // a run has at most eight outputs

// For the signal handler, which may do little more than read fixed memory and call unlink.
std::array<std::array<char, PATH_MAX>, kSlots> unfinished_names;
std::array<volatile std::sig_atomic_t, kSlots> unfinished{};

void remove_and_end(int signal) {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (unfinished[slot] != 0) unlink(unfinished_names[slot].data());
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

constexpr std::array kInterrupts{SIGINT, SIGTERM, SIGHUP};

// Blocks interrupts while it lives: a file that is created but not yet listed would be left behind.
class WithoutInterrupts {
 public:
  WithoutInterrupts() {
    sigset_t held;
    sigemptyset(&held);
    for (const int signal : kInterrupts) sigaddset(&held, signal);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~WithoutInterrupts() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutInterrupts(const WithoutInterrupts&) = delete;
  WithoutInterrupts& operator=(const WithoutInterrupts&) = delete;

 private:
  sigset_t before_;
};

Failure cannot_write(const std::string& path, const std::string& why) {
  return {kUsage, fmt::format("cannot write {}: {}", path, why)};
}

// The path with links resolved: renaming onto a link would replace the link, not its target.
std::string follow_links(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  const std::filesystem::path place = std::filesystem::weakly_canonical(whole, error);
  return error ? path : place.string();
}

mode_t mode_for(const std::string& path, const std::string& place) {
  struct stat status = {};
  if (stat(place.c_str(), &status) != 0) {
    const mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
  }
  if (S_ISDIR(status.st_mode)) throw cannot_write(path, "it is a directory");
  if (!S_ISREG(status.st_mode)) throw cannot_write(path, "it is not a regular file");
  if (access(place.c_str(), W_OK) != 0) throw cannot_write(path, std::strerror(errno));
  return status.st_mode & 07777;
}

void write_all(int descriptor, const void* data, std::size_t count) {
  const auto* from = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t put = ::write(descriptor, from, count);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw std::system_error(errno, std::generic_category());
    from += put;
    count -= static_cast<std::size_t>(put);
  }
}

}  // namespace

void remove_unfinished_on_interrupt() {
  for (const int signal : kInterrupts) std::signal(signal, remove_and_end);
}

OutputFiles::~OutputFiles() {
  for (const Entry& entry : entries_) {
    if (entry.descriptor >= 0) close(entry.descriptor);
    if (!entry.temporary.empty()) unlink(entry.temporary.c_str());
    unfinished[entry.slot] = 0;
  }
}

void OutputFiles::keep(const std::string& path) {
  kept_.push_back(follow_links(path));
}

void OutputFiles::reserve(const std::string& path) {
  const std::string place = follow_links(path);
  if (std::find(kept_.begin(), kept_.end(), place) != kept_.end()) {
    throw cannot_write(path, "it is an input of this run");
  }
  const bool is_taken = std::any_of(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.place == place; });
  if (is_taken) throw cannot_write(path, "two outputs would go there");
  const mode_t mode = mode_for(path, place);
  std::string temporary = place + ".XXXXXX";
  if (temporary.size() >= PATH_MAX || entries_.size() >= kSlots) {
    throw cannot_write(path, std::strerror(ENAMETOOLONG));
  }
  const WithoutInterrupts held;
  const int descriptor = mkostemp(temporary.data(), O_CLOEXEC);
  if (descriptor < 0) throw cannot_write(path, std::strerror(errno));
  const std::size_t slot = entries_.size();
  std::copy_n(temporary.c_str(), temporary.size() + 1, unfinished_names[slot].data());
  unfinished[slot] = 1;
  entries_.push_back({path, place, temporary, descriptor, slot});
  if (fchmod(descriptor, mode) != 0) throw cannot_write(path, std::strerror(errno));
}

void OutputFiles::write(const std::string& path, std::string_view prelude,
                        std::span<const std::byte> data) {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& one) { return one.path == path; });
  try {
    write_all(entry->descriptor, prelude.data(), prelude.size());
    write_all(entry->descriptor, data.data(), data.size());
    if (close(std::exchange(entry->descriptor, -1)) != 0) {
      throw std::system_error(errno, std::generic_category());
    }
  } catch (const std::system_error& error) {
    throw Failure(kFailed, cannot_write(path, std::strerror(error.code().value())).what());
  }
}

void OutputFiles::commit() {
  for (Entry& entry : entries_) {
    if (std::rename(entry.temporary.c_str(), entry.place.c_str()) != 0) {
      throw Failure(kFailed, cannot_write(entry.path, std::strerror(errno)).what());
    }
    unfinished[entry.slot] = 0;
    entry.temporary.clear();
  }
}

}  // namespace tilewise::cli
