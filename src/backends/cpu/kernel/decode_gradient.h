// Gradients of keys and values in decoding. Each row is a sum over few queries: it is computed in
// registers and stored at once.
#pragma once

#include "backends/cpu/kernel/memory.h"

namespace tilewise::cpu {

template <class Isa>
struct DecodeGradient {
  using V = typename Lanes<Isa, float>::V;
  static constexpr int64 kLanes = Lanes<Isa, float>::kCount;

  // One vector of a row, from column c on: factor times the sum over queries of weight * right.
  TW_INLINE static V sum_at(const DecodeGradientArgs<float>& a, const float* weight, int64 c) {
    V sum = {};
    for (int64 q = 0; q < a.count; ++q)
      sum += all<V>(weight[q]) * load<V>(a.right.data + q * a.right.pitch + c);
    return sum * all<V>(a.factor);
  }

  template <DType dtype>
  TW_INLINE static void store_as(const DecodeGradientArgs<float>& a) {
    for (int64 r = 0; r < a.rows.count; ++r) {
      Memory<Isa, float>::fetch_to_write(a.rows, r + Memory<Isa, float>::kPrefetchedRows);
      const float* weight = a.weights + r * a.pitch;
      std::byte* to = a.rows.at[r];
      int64 c = 0;
      for (; c + kLanes <= a.rows.dim; c += kLanes)
        Convert<Isa>::template write<dtype>(to, c, sum_at(a, weight, c));
      if (c == a.rows.dim) continue;
      alignas(64) float last[kLanes];
      store(last, sum_at(a, weight, c));
      Elements<Isa, dtype>::write(to + c * core::bytes_of(dtype), a.rows.dim - c, 1, last);
    }
  }

  static void store_rows(const DecodeGradientArgs<float>& a) {
    switch (a.rows.dtype) {
      case DType::kFloat32:
        return store_as<DType::kFloat32>(a);
      case DType::kBFloat16:
        return store_as<DType::kBFloat16>(a);
      default:
        return store_as<DType::kFloat16>(a);
    }
  }
};

}  // namespace tilewise::cpu
