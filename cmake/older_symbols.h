// Included ahead of every source of a wheel's library: asks the C library for symbols that its
// releases of 2018 have, where a newer one would bind to what came later. Those that stay the same
// in what we use differ in names alone; exp2 and log2 lost a wrapper that sets errno.
#pragma once
#if defined(__linux__) && defined(__GLIBC_PREREQ) || defined(__linux__)
#if defined(__x86_64__)
#define TILEWISE_OLDEST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define TILEWISE_OLDEST "GLIBC_2.17"
#endif
#ifdef TILEWISE_OLDEST
#define TILEWISE_OLDER(name) __asm__(".symver " #name "," #name "@" TILEWISE_OLDEST)
TILEWISE_OLDER(exp2);
TILEWISE_OLDER(log2);
TILEWISE_OLDER(exp);
TILEWISE_OLDER(log);
TILEWISE_OLDER(pow);
TILEWISE_OLDER(dlopen);
TILEWISE_OLDER(dlsym);
TILEWISE_OLDER(dlclose);
TILEWISE_OLDER(dlerror);
TILEWISE_OLDER(pthread_create);
TILEWISE_OLDER(pthread_join);
TILEWISE_OLDER(pthread_once);
TILEWISE_OLDER(pthread_detach);
#undef TILEWISE_OLDER
#undef TILEWISE_OLDEST
#endif
#endif
