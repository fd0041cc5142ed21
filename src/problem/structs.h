// Structs of the C face that begin with their own size, so that callers and library may be of
// different ages.
#pragma once

#include <cstddef>
#include <cstring>

#include "core/base.h"
#include "problem/status.h"

// The first step that refuses decides.
#define TW_TRY(step) \
  if (::tilewise::Status refusal = (step); !refusal.ok()) return refusal

namespace tilewise {

// Bytes of T in the first header that had it: no caller's is smaller. Members that came later begin
// there, and a struct that has gained some says here which was the first of them.
template <class T>
inline constexpr std::size_t kFirstSize = sizeof(T);

template <>
inline constexpr std::size_t kFirstSize<tw_execution> = offsetof(tw_execution, error);

struct Sizes {
  std::size_t first, known;
};

// Whether the struct at `from` is at least as large as the first header's, and uses nothing that
// this library does not know.
Status check_size(const void* from, Sizes sizes, const char* field, const char* type);

// A caller's struct as this library knows it. What an older header's lacks counts as zero, and so
// does everything in a null one. It is valid for as long as the caller's.
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
  T copy_;  // of a struct that is shorter than T, and filled in only then
};

Status check_flag(core::int32 flag, const char* field);

// No length, shift or window lies further out, so that sums of a few of them cannot overflow.
inline constexpr core::int64 kFarthest = core::int64{1} << 40;

}  // namespace tilewise
