// A tensor of a test in memory of its own: strides as odd as the contract allows, poison wherever
// nobody wrote, and a record of which elements a call may touch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "conformance/number.h"
#include "oracle/random.h"
#include "tilewise/tilewise.h"

namespace tilewise::conformance {

using Index = std::array<std::int64_t, 4>;
using Shape = std::vector<std::int64_t>;

enum class Role { kInput, kOutput };

class Field {
 public:
  Field() = default;  // absent
  Field(Field&&) = default;
  Field& operator=(Field&&) = default;

  // Contiguous, with nothing around it.
  static Field dense(tw_dtype dtype, const Shape& shape);

  // Permuted strides, gaps, element offsets, negative strides and absurd ones where the size is 1;
  // for inputs also strides of zero and overlapping rows.
  static Field scattered(tw_dtype dtype, const Shape& shape, Role role, oracle::Random& random);

  [[nodiscard]] bool absent() const { return view_.rank == 0; }
  [[nodiscard]] const tw_tensor& view() const { return view_; }
  [[nodiscard]] std::int64_t size(int axis) const {
    return view_.shape[static_cast<std::size_t>(axis)];
  }

  [[nodiscard]] double read(const Index& index) const;
  [[nodiscard]] std::uint64_t bits(const Index& index) const;
  void write(const Index& index, double value);  // owns the element, too
  void own(const Index& index);
  void disown() { owned_.assign(owned_.size(), false); }

  // Takes what is there now as what must stay: everything, or everything not owned.
  void remember() { remembered_ = bytes_; }
  [[nodiscard]] bool unchanged() const { return bytes_ == remembered_; }
  [[nodiscard]] bool unowned_unchanged() const;
  [[nodiscard]] const std::vector<unsigned char>& bytes() const { return bytes_; }
  void restore() { bytes_ = remembered_; }

  [[nodiscard]] std::string describe() const;  // shape and strides

 private:
  Field(tw_dtype dtype, const Shape& shape);
  void allocate(std::int64_t lead, std::int64_t elements, std::int64_t tail);
  [[nodiscard]] std::size_t element(const Index& index) const;
  [[nodiscard]] std::uint64_t load(std::size_t element) const;
  void store(std::size_t element, std::uint64_t bits);

  tw_tensor view_{};
  std::int64_t first_ = 0;  // the element of the buffer at which index 0, 0, ... lies
  std::vector<unsigned char> bytes_, remembered_;
  std::vector<bool> owned_;  // by element of the buffer
};

}  // namespace tilewise::conformance
