// Structs of the C face that begin with their own size, so that callers and library may be of
// different ages.
#pragma once

#include <cstddef>

#include "core/base.h"
#include "problem/status.h"

// The first step that refuses decides.
#define TW_TRY(step) \
  if (::tilewise::Status refusal = (step); !refusal.ok()) return refusal

namespace tilewise {

// `known` bytes are what this library understands of the struct at `from`.
Status check_size(const void* from, std::size_t known, const char* field, const char* type);

// A null struct asks for nothing and is fine.
template <class T>
Status check_struct(const T* from, const char* field, const char* type) {
  return from ? check_size(from, sizeof(T), field, type) : Status{};
}

// What a null pointer stands for.
template <class T>
const T& given_or_zero(const T* from) {
  static constexpr T kZero{};
  return from ? *from : kZero;
}

Status check_flag(core::int32 flag, const char* field);

// No length, shift or window lies further out, so that sums of a few of them cannot overflow.
inline constexpr core::int64 kFarthest = core::int64{1} << 40;

}  // namespace tilewise
