// The library's calls of malloc, new and pthread_create all come to this file, because a program's
// own definitions go before those of its shared libraries.
#include "robust/shortage.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "sanitizers.h"

namespace tilewise::robust {
namespace {

class Supply {
 public:
  void begin(const Shortage& shortage) {
    after_ = shortage.after;
    for_good_ = shortage.for_good;
    asked_ = refused_ = 0;
    is_short_ = true;
  }

  long end() {
    is_short_ = false;
    return refused_;
  }

  bool refuses() {
    all_.fetch_add(1, std::memory_order_relaxed);
    if (!is_short_) return false;
    const long before = asked_.fetch_add(1), after = after_;
    if (before < after || (before > after && !for_good_)) return false;
    refused_.fetch_add(1);
    return true;
  }

  long all() const { return all_; }

 private:
  std::atomic<bool> is_short_{false}, for_good_{false};
  std::atomic<long> after_{0}, asked_{0}, refused_{0}, all_{0};
};

constinit Supply memory, threads;
std::atomic<Of> lacking{Of::kMemory};

}  // namespace

void begin_shortage(const Shortage& shortage) {
  lacking = shortage.of;
  (shortage.of == Of::kMemory ? memory : threads).begin(shortage);
}

long end_shortage() {
  return (lacking == Of::kMemory ? memory : threads).end();
}

long memory_requests() {
  return memory.all();
}

bool sees_malloc() {
  return !TW_ADDRESS_SANITIZER && !TW_THREAD_SANITIZER;
}

}  // namespace tilewise::robust

using tilewise::robust::memory;
using tilewise::robust::threads;

using Start = void* (*)(void*);
using CreateThread = int (*)(pthread_t*, const pthread_attr_t*, Start, void*);

// A sanitizer that is linked into the program exports its pthread_create under this name.
extern "C" __attribute__((weak)) int __interceptor_pthread_create(pthread_t*, const pthread_attr_t*,
                                                                  Start, void*);

namespace {

// Looked up before anything is refused, because the lookup takes memory.
const CreateThread kCreateThread =
    __interceptor_pthread_create
        ? &__interceptor_pthread_create
        : reinterpret_cast<CreateThread>(dlsym(RTLD_NEXT, "pthread_create"));

}  // namespace

extern "C" __attribute__((visibility("default"))) int pthread_create(
    pthread_t* thread, const pthread_attr_t* attributes, Start start, void* argument) noexcept {
  return threads.refuses() ? EAGAIN : kCreateThread(thread, attributes, start, argument);
}

#if TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER

void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return memory.refuses() ? nullptr : std::malloc(bytes);
}
void* operator new(std::size_t bytes) {
  if (void* found = operator new(bytes, std::nothrow)) return found;
  throw std::bad_alloc();
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return operator new(bytes, std::nothrow);
}
void* operator new[](std::size_t bytes) {
  return operator new(bytes);
}
void operator delete(void* pointer) noexcept {
  std::free(pointer);
}
void operator delete(void* pointer, std::size_t) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer, std::size_t) noexcept {
  std::free(pointer);
}

#else

extern "C" {

void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* pointer, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

__attribute__((visibility("default"))) void* malloc(std::size_t bytes) {
  if (!memory.refuses()) return __libc_malloc(bytes);
  errno = ENOMEM;
  return nullptr;
}

__attribute__((visibility("default"))) void* calloc(std::size_t count, std::size_t bytes) {
  if (!memory.refuses()) return __libc_calloc(count, bytes);
  errno = ENOMEM;
  return nullptr;
}

__attribute__((visibility("default"))) void* realloc(void* pointer, std::size_t bytes) {
  if (!memory.refuses()) return __libc_realloc(pointer, bytes);
  errno = ENOMEM;
  return nullptr;
}

__attribute__((visibility("default"))) void* aligned_alloc(std::size_t alignment,
                                                           std::size_t bytes) {
  if (!memory.refuses()) return __libc_memalign(alignment, bytes);
  errno = ENOMEM;
  return nullptr;
}

__attribute__((visibility("default"))) int posix_memalign(void** pointer, std::size_t alignment,
                                                          std::size_t bytes) {
  *pointer = aligned_alloc(alignment, bytes);
  return *pointer ? 0 : ENOMEM;
}
}

#endif
