// Element types as the tests see them: bits to float64 and back, written apart from the library's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tilewise/tilewise.h"

namespace tilewise::conformance {

[[nodiscard]] std::size_t bytes_of(tw_dtype dtype);
[[nodiscard]] const char* name_of(tw_dtype dtype);

// The bits of the nearest number, ties to even; integers and booleans take the value as it is.
[[nodiscard]] std::uint64_t encode(tw_dtype dtype, double value);
[[nodiscard]] double decode(tw_dtype dtype, std::uint64_t bits);

// A NaN with bits that depend on `index`, as far as the type has room; for types without a NaN,
// unlikely bits.
[[nodiscard]] std::uint64_t poison(tw_dtype dtype, std::uint64_t index);

// The largest finite number.
[[nodiscard]] double largest(tw_dtype dtype);

// unit_roundoff: the largest relative error of a rounding. floor_of: the largest absolute error
// below the type's smallest normal number. In float64, float32 and bfloat16 a processor may flush
// such numbers to 0.
[[nodiscard]] double unit_roundoff(tw_dtype dtype);
[[nodiscard]] double floor_of(tw_dtype dtype);

// How far storing a number near `exact` may move it; 0 if `exact` is 0.
[[nodiscard]] double rounding_of(tw_dtype dtype, double exact);

}  // namespace tilewise::conformance
