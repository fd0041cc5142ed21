// How a thread waits for another: first awake, then asleep.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace tilewise {

// How long a thread waits awake before it sleeps: about the most that waking it costs on a busy or
// virtual machine (5 to 60 us). Where a wake costs that much, waiting awake first costs at most
// about twice what the better of waiting awake and sleeping at once would.
inline constexpr std::chrono::microseconds kWaitAwake{50};

// Tells the processor that this loop waits: it saves power and leaves the core to the SMT sibling.
inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Waits awake until done(), for kWaitAwake at most, and only while allowed(). Returns whether
// done() came true.
template <class Done, class Allowed>
bool wait_awake(Done done, Allowed allowed) {
  if (done()) return true;
  const auto begin = std::chrono::steady_clock::now();
  while (allowed()) {
    // This loop takes 1 to 2 microseconds; the clock and the yield below take half a microsecond.
    for (int look = 0; look < 32; ++look) {
      pause();
      if (done()) return true;
    }
    if (std::chrono::steady_clock::now() - begin > kWaitAwake) break;
    // The thread that is waited for may be queued behind this one: a busy machine often runs a
    // woken thread on the processor of the thread that woke it.
    std::this_thread::yield();
  }
  return false;
}

// Sleeps until woken, unless `word` is no longer `value`. May return without being woken.
void sleep_while(const std::atomic<std::uint32_t>& word, std::uint32_t value);

// Wakes at most `threads` threads that sleep on `word`: one system call, and no lock that all of
// them would have to take in turn.
void wake(const std::atomic<std::uint32_t>& word, int threads);

}  // namespace tilewise
