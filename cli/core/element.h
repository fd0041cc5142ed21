// Elements of every float type as doubles, for the command line to fill, print and compare.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tilewise/tilewise.h"

namespace tilewise::cli {

// These round to nearest, ties to even, as the machine's own conversions do.
[[nodiscard]] std::uint16_t to_float16(double value);
[[nodiscard]] std::uint16_t to_bfloat16(double value);
[[nodiscard]] double from_float16(std::uint16_t bits);
[[nodiscard]] double from_bfloat16(std::uint16_t bits);

// Throws Failure for a type that load_element and store_element do not have; they have float32,
// float64, float16 and bfloat16.
void require_elements(std::int32_t dtype);

[[nodiscard]] double load_element(std::int32_t dtype, const void* data, std::int64_t index);
void store_element(std::int32_t dtype, void* data, std::int64_t index, double value);

// The type of a name, "bfloat16" -> TW_BFLOAT16. An unknown name is a Failure.
[[nodiscard]] std::int32_t dtype_from_name(std::string_view name);
[[nodiscard]] std::vector<std::string> float_type_names();

}  // namespace tilewise::cli
