// Builds an instruction set's kernels from its traits: kBytes of a vector, kRegisters, kVectors in
// a row of a tile, kKeys of a forward tile, and kDecodes, whether it has kernels for decoding.
#pragma once

#include "backends/cpu/kernel/backward.h"
#include "backends/cpu/kernel/cache_ops.h"
#include "backends/cpu/kernel/decode_gradient.h"
#include "backends/cpu/kernel/decode_one.h"
#include "backends/cpu/kernel/decode_values.h"
#include "backends/cpu/kernel/dropout.h"
#include "backends/cpu/kernel/memory.h"
#include "backends/cpu/policy.h"

namespace tilewise::cpu {

template <class Isa, class T>
constexpr DecodeSteps<T> decode_steps_of() {
  using D = Decode<Isa, T>;
  DecodeSteps<T> steps{
      .pack = D::pack,
      .score = D::score,
      .survey = D::survey,
      .raise = Forward<Isa, T>::raise,
      .raise_one = DecodeOne<Isa, T>::raise,
      .accumulate = DecodeValues<Isa, T>::accumulate,
  };
  if constexpr (sizeof(T) == sizeof(float)) steps.store_gradient = DecodeGradient<Isa>::store_rows;
  return steps;
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
      .rows = {.load = M::load_rows,
               .widen = M::load_rows,
               .load_right = M::load_rows,
               .load_panels = M::load_panels,
               .store = M::store_rows,
               .to_lanes = M::to_lanes,
               .from_lanes = M::from_lanes,
               .numbers_to_lanes = M::to_lanes,
               .hide = M::hide_rows},
      .forward = {.score = F::template score<OfNumbers>,
                  .mask = F::mask,
                  .map = F::map,
                  .raise = F::raise,
                  .drop = Drop<Isa, T>::drop,
                  .accumulate = F::template accumulate<OfNumbers>},
      .backward = {.weigh = B::weigh,
                   .differentiate = B::differentiate,
                   .pack = nullptr,
                   .add_product = B::template add_product<OfNumbers>,
                   .add_slopes = B::add_slopes,
                   .dot_rows = B::dot_rows},
  };
  if constexpr (Isa::kDecodes) kernels.decode = decode_steps_of<Isa, T>();
  return kernels;
}

template <class Isa>
constexpr NumberKernels number_kernels_of() {
  using R = CacheOps<Isa>;
  return {kernels_of<Isa, float>(),
          kernels_of<Isa, double>(),
          {R::rotate, R::convert, R::add_weighted, R::write}};
}

}  // namespace tilewise::cpu
