// All of an instruction set's kernels, from its traits: kBytes of a vector, kRegisters, kVectors
// side by side in a tile, and kDecodes, whether it has kernels for few queries.
#pragma once

#include "backends/cpu/kernel/backward.h"
#include "backends/cpu/kernel/cache_ops.h"
#include "backends/cpu/kernel/decode_gradient.h"
#include "backends/cpu/kernel/decode_one.h"
#include "backends/cpu/kernel/decode_values.h"
#include "backends/cpu/kernel/dropout.h"
#include "backends/cpu/kernel/memory.h"

namespace tilewise::cpu {

template <class Isa, class T>
constexpr void add_few(Kernels<T>& kernels) {
  using D = Few<Isa, T>;
  kernels.pack_few = D::pack;
  kernels.score_few = D::score;
  kernels.survey_few = D::survey;
  kernels.raise_few = Forward<Isa, T>::raise;
  kernels.raise_one = One<Isa, T>::raise;
  kernels.accumulate_few = FewValues<Isa, T>::accumulate;
  if constexpr (sizeof(T) == sizeof(float)) kernels.store_few = FewGradient<Isa>::store_rows;
}

template <class Isa, class T>
constexpr Kernels<T> kernels_of() {
  static_assert(Isa::kKeys >= kTileKeys);
  using M = Memory<Isa, T>;
  using F = Forward<Isa, T>;
  using B = Backward<Isa, T>;
  Kernels<T> kernels = {
      .lanes = F::kLanes,
      .pitch = F::kPitch,
      .keys = Isa::kKeys,
      .load_rows = M::load_rows,
      .widen_rows = M::load_rows,
      .load_right = M::load_rows,
      .load_panels = M::load_panels,
      .store_rows = M::store_rows,
      .to_lanes = M::to_lanes,
      .from_lanes = M::from_lanes,
      .numbers_to_lanes = M::to_lanes,
      .hide_rows = M::hide_rows,
      .score = F::template score<OfNumbers>,
      .mask = F::mask,
      .map = F::map,
      .raise = F::raise,
      .drop = Drop<Isa, T>::drop,
      .accumulate = F::template accumulate<OfNumbers>,
      .weigh = B::weigh,
      .differentiate = B::differentiate,
      .pack = nullptr,
      .add_product = B::template add_product<OfNumbers>,
      .add_slopes = B::add_slopes,
      .dot_rows = B::dot_rows,
  };
  if constexpr (Isa::kDecodes) add_few<Isa>(kernels);
  return kernels;
}

template <class Isa>
constexpr NumberKernels number_kernels_of() {
  using R = RowSteps<Isa>;
  return {kernels_of<Isa, float>(),
          kernels_of<Isa, double>(),
          {R::turn, R::convert, R::add_share, R::write}};
}

}  // namespace tilewise::cpu
