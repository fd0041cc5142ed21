// Softmax's loops over a row, outside the library, in the processor's widest vectors.
#pragma once

#include <cstdint>

namespace tilewise::cli {

[[nodiscard]] float largest(const float* row, std::int64_t count);
// row = exp(row - shift); returns the sum. Each element's relative error is at most 5e-6.
float exponentials(float* row, std::int64_t count, float shift);
// row = factor * (row - shift), element by element.
void scale_shifted(float* row, const float* factor, std::int64_t count, float shift);

}  // namespace tilewise::cli
