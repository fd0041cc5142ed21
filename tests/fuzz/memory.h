// The memory behind one call's tensors. Each buffer lies alone on the heap and is exactly as large
// as its tensors say, so that the address sanitizer sees the first byte read or written outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "tilewise/tilewise.h"

namespace tilewise::fuzz {

// A tensor of a call, and what it is to it. An in-out cache counts as output.
struct Part {
  const char* name;
  tw_tensor* tensor;
  bool is_output;
};

class Memory {
 public:
  // The seed decides what new buffers are filled with.
  explicit Memory(std::uint8_t seed) : seed_(seed) {}

  std::byte* take(std::size_t bytes);
  // A dense tensor in a buffer of its own. Types and sizes that make no sense get no data.
  tw_tensor tensor(std::int32_t dtype, const std::vector<std::int64_t>& shape);
  tw_tensor integers(std::int32_t dtype, const std::vector<std::int64_t>& values);

  // Makes what the tensor says about its buffer true, whatever else it says.
  void be_honest(tw_tensor& tensor) const;

  // A refused call changes nothing, and a call that ran has written to its outputs alone.
  void remember();
  void expect_unchanged() const;
  void expect_unchanged_outside(const std::vector<Part>& parts) const;

 private:
  struct Buffer {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size;
    std::vector<std::byte> before;
  };
  [[nodiscard]] const Buffer* holder(const void* address) const;
  using Marks = std::vector<std::vector<char>>;  // of each byte of each buffer
  void visit(const Part& part, Marks& marks, const std::function<void(char&)>& each) const;
  // Marks what the outputs own; nothing else of the call may lie there.
  [[nodiscard]] Marks outputs(const std::vector<Part>& parts) const;

  std::uint8_t seed_;
  std::vector<Buffer> buffers_;
};

// The number of elements: 0 for an absent tensor, very large for one of absurd shape.
double elements(const tw_tensor& tensor);

}  // namespace tilewise::fuzz
