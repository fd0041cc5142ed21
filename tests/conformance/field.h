// A test's tensor in memory of its own, contiguous or with strides as odd as tilewise.h allows.
// Elements are poison (number.h) until written, and the tensor records which of them a call may
// write.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "conformance/guarded.h"
#include "conformance/number.h"
#include "oracle/random.h"
#include "tilewise/tilewise.h"

namespace tilewise::conformance {

using Index = std::array<std::int64_t, 4>;
using Shape = std::vector<std::int64_t>;

enum class Role { kInput, kOutput };

// How odd strides may be.
struct Scatter {
  Role role = Role::kInput;
  std::int64_t unit = 1;
};

class Field {
 public:
  Field() = default;  // absent
  Field(Field&&) = default;
  Field& operator=(Field&&) = default;

  // A contiguous tensor with nothing around it.
  static Field dense(tw_dtype dtype, const Shape& shape);

  // A tensor with permuted axes, gaps, an element offset and negative strides, as `random` draws
  // them; sizes of 1 get absurd strides, inputs also strides of zero and overlapping rows. The
  // start and all strides but those of the last axis and of sizes of 1 are multiples of
  // `scatter.unit` elements.
  static Field scattered(tw_dtype dtype, const Shape& shape, const Scatter& scatter,
                         oracle::Random& random);

  [[nodiscard]] bool absent() const { return view_.rank == 0; }
  [[nodiscard]] const tw_tensor& view() const { return view_; }
  [[nodiscard]] std::int64_t size(int axis) const {
    return view_.shape[static_cast<std::size_t>(axis)];
  }

  [[nodiscard]] double read(const Index& index) const;
  [[nodiscard]] std::uint64_t bits(const Index& index) const;
  void write(const Index& index, double value);  // also calls own()
  void own(const Index& index);                  // a call may write this element
  void disown() { owned_.assign(owned_.size(), false); }

  // Remembers the present bytes, which restore() writes back. unchanged() compares all bytes with
  // these, unowned_unchanged() those that the call may not write.
  void remember() { remembered_.assign(bytes().begin(), bytes().end()); }
  [[nodiscard]] bool unchanged() const;
  [[nodiscard]] bool unowned_unchanged() const;
  [[nodiscard]] std::span<const unsigned char> bytes() const {
    return {memory_.data(), memory_.size()};
  }
  void restore();

  [[nodiscard]] std::string describe() const;  // shape and strides

 private:
  Field(tw_dtype dtype, const Shape& shape);
  // Allocates memory for `elements`, gaps included, fills it with poison and remembers it.
  void allocate(std::int64_t elements, Guarded::Flush flush);
  [[nodiscard]] std::size_t element(const Index& index) const {
    std::int64_t result = first_;
    for (int axis = 0; axis < view_.rank; ++axis) {
      result += index[static_cast<std::size_t>(axis)] * view_.stride[axis];
    }
    return static_cast<std::size_t>(result);
  }
  [[nodiscard]] std::uint64_t load(std::size_t element) const;
  void store(std::size_t element, std::uint64_t bits);

  tw_tensor view_{};
  std::int64_t first_ = 0;  // the element of the buffer at which index 0, 0, ... lies
  Guarded memory_;
  std::vector<unsigned char> remembered_;
  std::vector<bool> owned_;  // by element of the buffer
};

}  // namespace tilewise::conformance
