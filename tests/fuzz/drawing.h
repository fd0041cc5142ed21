// Tensors drawn from bytes: types, strides with gaps, backwards or broadcast, and sequences.
#pragma once

#include <array>

#include "fuzz/bytes.h"
#include "fuzz/memory.h"

namespace tilewise::fuzz {

using Shape = std::vector<std::int64_t>;

class Drawing {
 public:
  Drawing(Bytes& bytes, Memory& memory) : bytes_(bytes), memory_(memory) {}

  std::int32_t float_type();
  std::int32_t index_type() { return bytes_.flag() ? TW_INT64 : TW_INT32; }

  // Outputs are never broadcast.
  tw_tensor output(std::int32_t dtype, const Shape& shape);
  tw_tensor input(std::int32_t dtype, const Shape& shape);
  // Each extent whole, or 1.
  tw_tensor broadcast(std::int32_t dtype, Shape shape);
  tw_tensor integers(const Shape& values) { return memory_.integers(index_type(), values); }

  // Lengths up to `most`, one a sequence.
  Shape lengths(std::int64_t batch, std::int64_t most);
  // Offsets of packed sequences, and the longest of them.
  Shape offsets(std::int64_t batch, std::int64_t most, std::int64_t& longest);

 private:
  Bytes& bytes_;
  Memory& memory_;
};

}  // namespace tilewise::fuzz
