// Which sanitizer this build has: g++ defines a macro for each, clang answers when asked.
#pragma once

#if defined(__has_feature)
#define TW_HAS_FEATURE(name) __has_feature(name)
#else
#define TW_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || TW_HAS_FEATURE(address_sanitizer)
#define TW_ADDRESS_SANITIZER 1
#else
#define TW_ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__) || TW_HAS_FEATURE(thread_sanitizer)
#define TW_THREAD_SANITIZER 1
#else
#define TW_THREAD_SANITIZER 0
#endif

#undef TW_HAS_FEATURE
