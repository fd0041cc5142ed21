#include "plan/settings.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace tilewise {
namespace {

enum State { kUnread, kBeingKept, kKept };
std::atomic<State> state{kUnread};
Settings kept;

void copy_name(const char* variable, char (&name)[Settings::kNameBytes]) {
  const char* text = std::getenv(variable);
  std::snprintf(name, sizeof name, "%s", text ? text : "");
}

// What is no whole number asks for nothing.
double least_share() {
  const char* text = std::getenv("TILEWISE_LEAST_SHARE");
  char* end = nullptr;
  const long long share = text ? std::strtoll(text, &end, 10) : -1;
  return text && end != text && *end == '\0' ? static_cast<double>(share) : -1;
}

Settings from_environment() {
  Settings read;
  copy_name("TILEWISE_BACKEND", read.backend);
  copy_name("TILEWISE_CPU_ISA", read.instructions);
  copy_name("TILEWISE_CUDA_KERNELS", read.cuda_kernels);
  read.least_share = least_share();
  return read;
}

}  // namespace

// Without a lock: one that is held while another thread forks would stay locked in the child.
Settings settings() {
  if (state.load(std::memory_order_acquire) == kKept) return kept;
  const Settings read = from_environment();
  State unread = kUnread;
  if (state.compare_exchange_strong(unread, kBeingKept)) {
    kept = read;
    state.store(kKept, std::memory_order_release);
  }
  return read;
}

void forget_settings() {
  state.store(kUnread);
}

}  // namespace tilewise
