// Kernels for tests of the compiler, which need no header but core's.
#pragma once

#include "backends/cuda/compiler/variant.h"

namespace tilewise::cuda {

inline constexpr Variant kTinyKernel{
    .name = "tiny_test_kernel",
    .include = "core/mask.h",
    .parameters = "long long* out, const __grid_constant__ tilewise::core::Band band",
    .body = "*out = band.visible_keys(threadIdx.x).end;",
    .threads = 64,
    .blocks = 2,
    .dynamic_shared_bytes = 1024,
};

// Each thread indexes its array by a number known only at run time, so the array lies in local
// memory.
inline constexpr Variant kLocalKernel{
    .name = "local_test_kernel",
    .include = "core/base.h",
    .parameters = "float* out, int which",
    .body =
        "__shared__ float all[64]; volatile float own[400]; for (int i = 0; i < which; ++i) "
        "own[i * 7 % 400] = out[i]; all[threadIdx.x] = own[which]; __syncthreads(); "
        "out[threadIdx.x] = all[63 - threadIdx.x];",
    .threads = 64,
    .blocks = 0,
    .dynamic_shared_bytes = 0,
};

inline constexpr Variant kWrongKernel{
    .name = "wrong_test_kernel",
    .include = "core/base.h",
    .parameters = "float* out",
    .body = "*out = no_such_word;",
    .threads = 64,
    .blocks = 0,
    .dynamic_shared_bytes = 0,
};

}  // namespace tilewise::cuda
