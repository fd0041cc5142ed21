#include "plan/settings.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace tilewise {
namespace {

// kUnread, kKept, or the id of the process in which a thread is storing the settings.
constexpr int kUnread = 0, kKept = -1;
std::atomic<int> state{kUnread};
Settings kept;

void copy_name(const char* variable, char (&name)[Settings::kNameBytes]) {
  const char* text = std::getenv(variable);
  std::snprintf(name, sizeof name, "%s", text ? text : "");
}

// TILEWISE_LEAST_SHARE; -1 if it is not set or not a whole number.
double least_work() {
  const char* text = std::getenv("TILEWISE_LEAST_SHARE");
  char* end = nullptr;
  const long long work = text ? std::strtoll(text, &end, 10) : -1;
  return text && end != text && *end == '\0' ? static_cast<double>(work) : -1;
}

Settings from_environment() {
  Settings read;
  copy_name("TILEWISE_BACKEND", read.backend);
  copy_name("TILEWISE_CPU_ISA", read.instructions);
  copy_name("TILEWISE_CUDA_KERNELS", read.cuda_kernels);
  read.least_work = least_work();
  return read;
}

}  // namespace

// Uses no lock: a lock held while another thread forks would stay locked in the child. If the child
// finds the id of its parent in `state`, the thread that was storing the settings does not exist
// there, so the child stores them itself.
Settings settings() {
  int seen = state.load(std::memory_order_acquire);
  if (seen == kKept) return kept;
  const Settings read = from_environment();
  const int self = getpid();
  if (seen != self && state.compare_exchange_strong(seen, self)) {
    kept = read;
    state.store(kKept, std::memory_order_release);
  }
  return read;
}

void forget_settings() {
  state.store(kUnread);
}

}  // namespace tilewise
