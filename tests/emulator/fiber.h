// A fiber: a call with a stack of its own, which runs until it leaves and goes on where it left.
#pragma once

#include <cstddef>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace tilewise::emulator {

class Fiber {
 public:
  using Entry = void (*)();

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // The next enter() calls `entry`, which never returns: at its end it leaves for good.
  void start(Entry entry);
  void enter();
  // By the fiber itself: back to where it was entered from.
  void leave();

 private:
  static constexpr std::size_t kStackBytes = 256 << 10;

  // Tell the sanitizers: that of threads keeps a stack of calls for each fiber, that of addresses
  // knows what lies on each stack.
  void tell_start();
  void tell_enter();
  void tell_leave();

  std::unique_ptr<std::byte[]> stack_;
  [[maybe_unused]] void *watched_ = nullptr, *watched_outside_ = nullptr;
#if defined(__x86_64__)
  void *inside_ = nullptr, *outside_ = nullptr;  // stack pointers
#else
  ucontext_t inside_{}, outside_{};
#endif
};

}  // namespace tilewise::emulator
