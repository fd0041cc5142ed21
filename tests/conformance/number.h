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

// A NaN that differs from one `index` to the next as far as the type has room; for types without a
// NaN, bits that nobody would write.
[[nodiscard]] std::uint64_t poison(tw_dtype dtype, std::uint64_t index);

// The largest finite number.
[[nodiscard]] double largest(tw_dtype dtype);

// The largest relative error of one rounding; and, below the smallest normal number, the largest
// absolute one, which is that of a processor that flushes subnormal numbers where it does.
[[nodiscard]] double unit_roundoff(tw_dtype dtype);
[[nodiscard]] double floor_of(tw_dtype dtype);

// The most that storing a number near `exact` changes it. Zero is stored as it is.
[[nodiscard]] double rounding_of(tw_dtype dtype, double exact);

}  // namespace tilewise::conformance
