// How a thread waits for another: first awake, then asleep.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace tilewise {

// About what it costs to wake a thread on a busy or virtual machine (5 to 60 us): who waits awake
// for as long never wastes more than twice what the better choice would have.
inline constexpr std::chrono::microseconds kWaitAwake{50};

// Tells the processor that this loop waits: it saves power, and a sibling thread gets the core.
inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Whether `done` came true while `allowed` said that waiting awake harms nobody, and in time.
template <class Done, class Allowed>
bool wait_awake(Done done, Allowed allowed) {
  if (done()) return true;
  const auto begin = std::chrono::steady_clock::now();
  while (allowed()) {
    // A microsecond or two; the clock and the yield below take half of one.
    for (int look = 0; look < 32; ++look) {
      pause();
      if (done()) return true;
    }
    if (std::chrono::steady_clock::now() - begin > kWaitAwake) break;
    // The one that is waited for may be queued behind this very thread: on a busy machine a thread
    // is often woken on the processor of the one that wakes it.
    std::this_thread::yield();
  }
  return false;
}

// Sleeps until woken, if `word` is `value` still. May return for no reason.
void sleep_while(const std::atomic<std::uint32_t>& word, std::uint32_t value);

// Wakes at most `threads` that sleep on `word`: one system call, and no lock that all of them would
// have to take in turn.
void wake(const std::atomic<std::uint32_t>& word, int threads);

}  // namespace tilewise
