// How backends cut a caller's workspace into pieces.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base.h"

namespace tilewise {

using core::int64;

// Hands out pieces of a workspace. Without memory it only counts, so that plan() and run() get the
// same size from the same code.
class Arena {
 public:
  static constexpr int64 kAlignment = 64;

  explicit Arena(std::byte* memory) : memory_(memory) {}

  template <class T>
  T* take(int64 count) {
    T* piece = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += core::ceil_div(count * static_cast<int64>(sizeof(T)), kAlignment) * kAlignment;
    return piece;
  }

  int64 used() const { return used_; }

 private:
  std::byte* memory_;
  int64 used_ = 0;
};

// Extra bytes that aligned() needs, whatever address the caller's workspace has.
inline constexpr int64 kAlignmentRoom = Arena::kAlignment;

inline std::byte* aligned(std::byte* workspace) {
  const auto address = reinterpret_cast<std::uintptr_t>(workspace);
  const auto rest = address % Arena::kAlignment;
  return rest == 0 ? workspace : workspace + (Arena::kAlignment - rest);
}

}  // namespace tilewise
