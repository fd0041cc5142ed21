// Structs of the C face begin with their own size, so that the caller may be built with an older or
// newer header than the library.
#pragma once

#include <cstddef>
#include <cstring>

#include "core/base.h"
#include "problem/status.h"

// Returns the step's refusal, if there is one, from the function around it.
#define TW_TRY(step) \
  if (::tilewise::Status refusal = (step); !refusal.ok()) return refusal

namespace tilewise {

// sizeof(T) in the first header that declared T; no caller's struct is smaller. For a struct that
// has gained members, a specialization gives the offset of the first new one.
template <class T>
inline constexpr std::size_t kFirstSize = sizeof(T);

template <>
inline constexpr std::size_t kFirstSize<tw_execution> = offsetof(tw_execution, error);

struct Sizes {
  std::size_t first, known;
};

// Refuses a struct smaller than the first header's, or with members set that this library lacks.
Status check_size(const void* from, Sizes sizes, const char* field, const char* type);

// A caller's struct as this library knows it. Members that an older header lacks count as zero, as
// do all members of a null struct. The caller's struct must outlive it.
template <class T>
class Given {
 public:
  Given() = default;
  Given(const Given&) = delete;
  Given& operator=(const Given&) = delete;

  // `type` is T's name in the header.
  Status read(const T* from, const char* field, const char* type) {
    at_ = from ? from : &kZero;
    if (!from) return {};
    TW_TRY(check_size(from, {kFirstSize<T>, sizeof(T)}, field, type));
    std::size_t size = 0;
    std::memcpy(&size, from, sizeof size);
    if (size >= sizeof(T)) return {};
    copy_ = {};
    std::memcpy(&copy_, from, size);
    at_ = &copy_;
    return {};
  }

  const T& operator*() const { return *at_; }
  const T* operator->() const { return at_; }

 private:
  static constexpr T kZero{};

  const T* at_ = &kZero;
  T copy_;  // used only for a struct shorter than T
};

Status check_flag(core::int32 flag, const char* field);

// The largest length, shift and window, small enough that a sum of a few cannot overflow.
inline constexpr core::int64 kFarthest = core::int64{1} << 40;

}  // namespace tilewise
