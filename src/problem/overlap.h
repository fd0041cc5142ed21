// Whether two strided tensors, or two elements of one, share a byte. It is decided by the bytes of
// the elements and not by the range around them, so interleaved tensors of one buffer pass.
#pragma once

#include "problem/view.h"

namespace tilewise {

// kUnknown: the search was given up, because the strides are too tangled.
enum class Answer { kNo, kYes, kUnknown };

// Whether two tensors have a byte in common.
Answer overlap(const View& a, const View& b);

// Whether two different elements of one tensor have a byte in common.
Answer folds(const View& view);

}  // namespace tilewise
