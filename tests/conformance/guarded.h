// Memory between two pages that nobody may touch: a read or write one byte too far ends the program
// at once, with no sanitizer needed.
#pragma once

#include <cstddef>
#include <utility>

namespace tilewise::conformance {

class Guarded {
 public:
  // Which end of the memory lies flush against its guard page.
  enum class Flush { kEnd, kBegin };

  Guarded() = default;
  Guarded(std::size_t bytes, Flush flush);
  Guarded(Guarded&& other) noexcept { swap(other); }
  Guarded& operator=(Guarded&& other) noexcept {
    swap(other);
    return *this;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded();

  [[nodiscard]] unsigned char* data() { return data_; }
  [[nodiscard]] const unsigned char* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  void swap(Guarded& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_, other.mapped_);
  }

  unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace tilewise::conformance
