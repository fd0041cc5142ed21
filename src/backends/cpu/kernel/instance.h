// All of an instruction set's kernels, from its traits: kBytes of a vector, kRegisters, and
// kVectors side by side in a tile.
#pragma once

#include "backends/cpu/kernel/backward.h"
#include "backends/cpu/kernel/dropout.h"
#include "backends/cpu/kernel/few.h"
#include "backends/cpu/kernel/memory.h"
#include "backends/cpu/kernel/rows.h"

namespace tilewise::cpu {

template <class Isa, class T>
constexpr Kernels<T> kernels_of() {
  using M = Memory<Isa, T>;
  using F = Forward<Isa, T>;
  using B = Backward<Isa, T>;
  return {F::kLanes,      F::kPitch,
          Isa::kKeys,     M::load_rows,
          M::load_rows,   M::load_panels,
          M::store_rows,  M::to_lanes,
          M::from_lanes,  F::score,
          F::mask,        F::map,
          F::raise,       Drop<Isa, T>::drop,
          F::accumulate,  Few<Isa, T>::score,
          F::raise,       Few<Isa, T>::accumulate,
          B::weigh,       B::differentiate,
          B::add_product, B::add_slopes,
          B::dot_rows};
}

template <class Isa>
constexpr RowKernels row_kernels_of() {
  using R = RowSteps<Isa>;
  return {R::turn, R::convert, R::add_share, R::write};
}

}  // namespace tilewise::cpu
