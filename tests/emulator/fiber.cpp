#include "emulator/fiber.h"

#include <cstdint>

#include "sanitizers.h"

#if TW_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#elif TW_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace tilewise::emulator {

#if TW_THREAD_SANITIZER

Fiber::~Fiber() {
  if (watched_) __tsan_destroy_fiber(watched_);
}

void Fiber::tell_start() {
  if (watched_) __tsan_destroy_fiber(watched_);
  watched_ = __tsan_create_fiber(0);
}

void Fiber::tell_enter() {
  watched_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(watched_, 0);
}

void Fiber::tell_leave() {
  __tsan_switch_to_fiber(watched_outside_, 0);
}

#else

Fiber::~Fiber() = default;
#if TW_ADDRESS_SANITIZER
// The calls of a fiber that left for good never returned, and their surroundings stay marked.
void Fiber::tell_start() {
  if (stack_) __asan_unpoison_memory_region(stack_.get(), kStackBytes);
}
#else
void Fiber::tell_start() {}
#endif
void Fiber::tell_enter() {}
void Fiber::tell_leave() {}

#endif

#if defined(__x86_64__)

// Saves what a call must keep, and takes the other side's: 9 ns, where swapcontext asks the kernel
// and takes 260.
extern "C" void tilewise_switch_fiber(void** save, void* load);
asm(R"(
.text
.globl tilewise_switch_fiber
.type tilewise_switch_fiber, @function
tilewise_switch_fiber:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size tilewise_switch_fiber, . - tilewise_switch_fiber
)");

void Fiber::start(Entry entry) {
  tell_start();
  if (!stack_) stack_ = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  const auto end = reinterpret_cast<std::uintptr_t>(stack_.get() + kStackBytes) / 16 * 16;
  // Six registers, where to return to, and a place that looks like a caller's.
  auto** top = reinterpret_cast<void**>(end) - 8;
  for (int n = 0; n < 8; ++n) top[n] = nullptr;
  top[6] = reinterpret_cast<void*>(entry);
  inside_ = top;
}

void Fiber::enter() {
  tell_enter();
  tilewise_switch_fiber(&outside_, inside_);
}

void Fiber::leave() {
  tell_leave();
  tilewise_switch_fiber(&inside_, outside_);
}

#else

void Fiber::start(Entry entry) {
  tell_start();
  if (!stack_) stack_ = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_.get();
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  makecontext(&inside_, entry, 0);
}

void Fiber::enter() {
  tell_enter();
  swapcontext(&outside_, &inside_);
}

void Fiber::leave() {
  tell_leave();
  swapcontext(&inside_, &outside_);
}

#endif

}  // namespace tilewise::emulator
