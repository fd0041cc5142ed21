// A matrix product: a register block sums a(r, k) * b[k][lane] over k. Every product of attention,
// forward and backward, is this one with other strides, except in decoding and by AMX.
#pragma once

#include "backends/cpu/simd/vector.h"

namespace tilewise::cpu {

// Elements of a product that are numbers, and how they are multiplied and added.
struct OfNumbers {
  static constexpr int64 kPacked = 1;  // numbers in an element

  template <class V, class T>
  TW_INLINE static V spread(const T* from) {
    return all<V>(*from);
  }
  template <class V>
  TW_INLINE static V add(V sum, V left, V right) {
    return sum + left * right;
  }
};

// The left side of a product: element (r, k) is data[r * row + k * step].
template <class T>
struct Operand {
  const T* data;
  int64 row, step;
};

template <class V, int rows, int vectors>
struct Block {
  V sum[rows][vectors];

  TW_INLINE void clear() {
    TW_UNROLL for (int r = 0; r < rows; ++r) {
      TW_UNROLL for (int j = 0; j < vectors; ++j) sum[r][j] = V{};
    }
  }

  // Stores the first `count` rows and raises `largest`, each lane's largest number so far, which is
  // in memory because the sums need all registers.
  template <class T>
  TW_INLINE void keep(T* to, int64 pitch, int64 count, T* largest) const {
    constexpr int kLanes = sizeof(V) / sizeof(T);
    V most[vectors];
    TW_UNROLL for (int j = 0; j < vectors; ++j) most[j] = load<V>(largest + j * kLanes);
    TW_UNROLL for (int r = 0; r < rows; ++r) {
      if (r >= count) break;
      TW_UNROLL for (int j = 0; j < vectors; ++j) {
        most[j] = larger(most[j], sum[r][j]);
        store(to + r * pitch + j * kLanes, sum[r][j]);
      }
    }
    TW_UNROLL for (int j = 0; j < vectors; ++j) store(largest + j * kLanes, most[j]);
  }

  // Merges the block into memory: memory = memory * factor + sum.
  template <class T>
  TW_INLINE void gather(T* to, int64 pitch, const V (&factor)[vectors]) const {
    constexpr int kLanes = sizeof(V) / sizeof(T);
    TW_UNROLL for (int r = 0; r < rows; ++r) {
      TW_UNROLL for (int j = 0; j < vectors; ++j) {
        T* at = to + r * pitch + j * kLanes;
        store(at, load<V>(at) * factor[j] + sum[r][j]);
      }
    }
  }

  // sum += a . b over `depth` elements; b's row k begins at b + k * pitch. Vectors before `first`
  // are left alone.
  template <class Elements = OfNumbers, int first = 0, class T>
  TW_INLINE void add(Operand<T> a, const T* b, int64 pitch, int64 depth) {
    constexpr int kLanes = sizeof(V) / sizeof(T);
    TW_UNROLL_STEPS for (int64 k = 0; k < depth; ++k) {
      V right[vectors];
      TW_UNROLL for (int j = first; j < vectors; ++j) right[j] =
          load<V>(b + k * pitch + j * kLanes);
      TW_UNROLL for (int r = 0; r < rows; ++r) {
        const V left = Elements::template spread<V>(a.data + r * a.row + k * a.step);
        TW_UNROLL for (int j = first; j < vectors; ++j) {
          sum[r][j] = Elements::add(sum[r][j], left, right[j]);
        }
      }
    }
  }
};

// Rows of a register block of `vectors` vectors: enough independent sums to keep the FMA ports
// busy, few enough to leave registers for a and b.
template <class Isa, int vectors>
inline constexpr int kBlockRows = Isa::kRegisters == 32 || vectors == 1 ? 8 : 4;

// Calls body.template operator()<n>(), where n is `vectors`, 1 to `most`.
template <int most, class Body>
TW_INLINE void with_vectors(int64 vectors, Body body) {
  if constexpr (most > 1) {
    if (vectors < most) return with_vectors<most - 1>(vectors, body);
  }
  body.template operator()<most>();
}

}  // namespace tilewise::cpu
