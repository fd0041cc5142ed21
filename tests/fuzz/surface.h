// The surface of a call: everything in it that a caller can get wrong, whatever the request's type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "fuzz/bytes.h"
#include "fuzz/memory.h"

namespace tilewise::fuzz {

// A struct of the C face with room behind it, which a caller of a later version would fill.
template <class T>
struct Roomy {
  T known{};
  std::byte later[64] = {};

  Roomy() { known.size = sizeof known; }
};

struct SizeField {
  std::size_t* size;
  std::size_t room;  // bytes that really are there
  std::byte* later;
};

struct Surface {
  std::vector<Part> tensors;
  std::vector<std::int32_t*> words;
  std::vector<std::int64_t*> numbers;
  std::vector<double*> reals;
  std::vector<SizeField> sizes;
  std::vector<std::function<void()>> forget;  // each makes one pointer null

  template <class T>
  void add(Roomy<T>& some) {
    sizes.push_back({&some.known.size, sizeof some, some.later});
  }
  template <class T>
  void add_pointer(const T*& pointer) {
    forget.emplace_back([&pointer] { pointer = nullptr; });
  }
};

// Makes one thing wrong, or at least different.
void spoil(Bytes& bytes, const Surface& surface, const Memory& memory);
// Leaves nothing as it was.
void overwrite(Bytes& bytes, const Surface& surface, const Memory& memory);

}  // namespace tilewise::fuzz
