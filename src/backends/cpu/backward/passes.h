// The passes of backward, each with what a worker needs of scratch memory.
#pragma once

#include "backends/cpu/backward/row_sums.h"
#include "backends/cpu/passes.h"

namespace tilewise::cpu {

struct Workers {
  const Parallel& parallel;
  std::byte* shares;
  int64 share;

  std::byte* scratch(int32 worker) const { return shares + worker * share; }
};

template <class T>
int64 row_pass_share(const Problem& p, const Kernels<T>& kernels);
template <class T>
void find_row_sums(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums,
                   const Workers& workers);

template <class T>
int64 bias_pass_share(const Problem& p, const Kernels<T>& kernels);
template <class T>
void find_bias_gradient(const Problem& p, const Kernels<T>& kernels, const RowSums<T>& sums,
                        const Workers& workers);

}  // namespace tilewise::cpu
