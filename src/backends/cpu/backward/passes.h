// The passes of backward over rows and over the bias, and the scratch bytes that a worker needs for
// each.
#pragma once

#include "backends/cpu/backward/row_sums.h"
#include "backends/cpu/passes.h"

namespace tilewise::cpu {

struct Workers {
  const Parallel& parallel;
  std::byte* memory;
  int64 scratch_bytes;

  std::byte* scratch(int32 worker) const { return memory + worker * scratch_bytes; }
};

template <class T>
int64 row_pass_scratch_bytes(const Problem& p, const Kernels<T>& kernels);
template <class T>
void find_row_sums(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums,
                   const Workers& workers);

template <class T>
int64 bias_pass_scratch_bytes(const Problem& p, const Kernels<T>& kernels);
template <class T>
void find_bias_gradient(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums,
                        const Workers& workers);

}  // namespace tilewise::cpu
