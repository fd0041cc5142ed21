// Whether strided sets of bytes share any: decided exactly, on the bytes and not on the hulls, so
// that interleaved tensors of one buffer pass.
#pragma once

#include "problem/view.h"

namespace tilewise {

// kUnknown: the strides are so tangled that the search was given up.
enum class Answer { kNo, kYes, kUnknown };

// Whether two tensors have a byte in common.
Answer overlap(const View& a, const View& b);

// Whether two different elements of one tensor have a byte in common.
Answer folds(const View& view);

}  // namespace tilewise
