// A wheel's library runs with the C libraries of 2018 (glibc 2.28) and later, though it is built
// with a newer one. What newer ones renamed or added is asked for by its older name here, or done
// without; the linker's --wrap leads each call of it, in the library and in the C++ library inside
// it, to the function of the same name below. wheel.cmake lists the names once more.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define TW_OLDEST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define TW_OLDEST "GLIBC_2.17"
#else
#error "Say which release of the C library was the first on this processor."
#endif
// The same function under the version that it had from the beginning.
#define TW_OLDER(result, name, parameters) \
  result older_##name parameters;          \
  __asm__(".symver older_" #name "," #name "@" TW_OLDEST)

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the linker's names.
extern "C" {

// glibc 2.29 gave these a new version, which no longer calls matherr.
TW_OLDER(double, exp2, (double));
TW_OLDER(double, log2, (double));
double __wrap_exp2(double x) {
  return older_exp2(x);
}
double __wrap_log2(double x) {
  return older_log2(x);
}

// Since 2.34 these lie in libc itself, under that version.
TW_OLDER(void*, dlopen, (const char*, int));
TW_OLDER(void*, dlsym, (void*, const char*));
TW_OLDER(char*, dlerror, ());
TW_OLDER(int, dladdr, (const void*, Dl_info*));
TW_OLDER(int, pthread_create, (pthread_t*, const pthread_attr_t*, void* (*)(void*), void*));
TW_OLDER(int, pthread_join, (pthread_t, void**));
TW_OLDER(int, pthread_detach, (pthread_t));
TW_OLDER(int, pthread_once, (pthread_once_t*, void (*)()));
void* __wrap_dlopen(const char* path, int mode) {
  return older_dlopen(path, mode);
}
void* __wrap_dlsym(void* library, const char* name) {
  return older_dlsym(library, name);
}
char* __wrap_dlerror() {
  return older_dlerror();
}
int __wrap_dladdr(const void* address, Dl_info* about) {
  return older_dladdr(address, about);
}
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                          void* (*routine)(void*), void* argument) {
  return older_pthread_create(thread, attributes, routine, argument);
}
int __wrap_pthread_join(pthread_t thread, void** result) {
  return older_pthread_join(thread, result);
}
int __wrap_pthread_detach(pthread_t thread) {
  return older_pthread_detach(thread);
}
int __wrap_pthread_once(pthread_once_t* once, void (*routine)()) {
  return older_pthread_once(once, routine);
}

// Before 2.33 these were inline calls of something else. The kernel's struct is the C library's.
int __wrap_stat(const char* path, struct stat* about) {
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, about, 0));
}
int __wrap_lstat(const char* path, struct stat* about) {
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, about, AT_SYMLINK_NOFOLLOW));
}
int __wrap_fstatat(int folder, const char* path, struct stat* about, int flags) {
  return static_cast<int>(syscall(SYS_newfstatat, folder, path, about, flags));
}
int __wrap_fstat(int descriptor, struct stat* about) {
  return static_cast<int>(syscall(SYS_fstat, descriptor, about));
}
// The C++ library's files ask by this name.
int __wrap_fstat64(int descriptor, struct stat64* about) {
  return static_cast<int>(syscall(SYS_fstat, descriptor, about));
}

// Added in 2.36; the C++ library's random_device may call it.
unsigned __wrap_arc4random() {
  unsigned number = 0;
  while (getrandom(&number, sizeof number, 0) != sizeof number) continue;
  return number;
}

// Added in 2.32: while it is not 0, the C++ library counts references without atomics. Here it is
// 0.
char __wrap___libc_single_threaded = 0;

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
