// Memory between two guard pages. One end of the memory touches its guard page, so that an access
// one byte past this end stops the program at once, without a sanitizer. The rest of the page at
// the other end is filled with bytes of 0xFF, a NaN in every float type; is_intact() checks that
// they stay. Under the address sanitizer the memory is on the heap, which the sanitizer guards.
#pragma once

#include <cstddef>
#include <utility>

namespace tilewise::conformance {

class Guarded {
 public:
  // Which end of the memory touches its guard page.
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
  // Whether the bytes beside the memory are unchanged.
  [[nodiscard]] bool is_intact() const;

 private:
  void swap(Guarded& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(slack_, other.slack_);
    std::swap(slack_size_, other.slack_size_);
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_, other.mapped_);
  }

  unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
  unsigned char* slack_ = nullptr;  // what lies beside it, up to the other guard page
  std::size_t slack_size_ = 0;
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace tilewise::conformance
