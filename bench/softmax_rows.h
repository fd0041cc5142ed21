// What softmax does with a row, outside the library, at the width of the processor's vectors.
#pragma once

#include <cstdint>

namespace tilewise::cli {

[[nodiscard]] float largest(const float* row, std::int64_t count);
// row = exp(row - shift); returns the sum. Right to 5e-6 of each element.
float exponentials(float* row, std::int64_t count, float shift);
// row = factor * (row - shift), element by element.
void scale_shifted(float* row, const float* factor, std::int64_t count, float shift);

}  // namespace tilewise::cli
