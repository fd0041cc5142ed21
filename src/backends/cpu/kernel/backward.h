// The steps of the backward pass on an instruction set: weigh, differentiate, add products.
#pragma once

#include "backends/cpu/kernel/forward.h"

namespace tilewise::cpu {

template <class Isa, class T>
struct Backward {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  static constexpr int64 kLanes = L::kCount, kPitch = kLanes * Isa::kVectors;

  template <int count>
  TW_INLINE static void weigh_keys(T* at, V unit, V max, V inverse_sum) {
    const V most = all<V>(T(Exponent<T>::kBias + 1));
    V x[count];
    TW_UNROLL for (int i = 0; i < count; ++i) x[i] =
        smaller(load<V>(at + i * kPitch) * unit - max, most);
    exp2_gradual<Isa, T>(x);
    TW_UNROLL for (int i = 0; i < count; ++i) store(at + i * kPitch, x[i] * inverse_sum);
  }

  // Makes weights of scores, for rows whose max and denominator are known.
  static void weigh(const WeighArgs<T>& a) {
    constexpr int kTogether = 4;
    for (int64 j = 0; j < a.tile.vectors; ++j) {
      const V max = load<V>(a.max + j * kLanes), inverse_sum = load<V>(a.inverse_sum + j * kLanes);
      const V unit = load<V>(a.unit + j * kLanes);
      T* at = a.tile.data + j * kLanes;
      const int64 keys = a.tile.keys_of(j);
      int64 key = 0;
      for (; key + kTogether <= keys; key += kTogether)
        weigh_keys<kTogether>(at + key * kPitch, unit, max, inverse_sum);
      for (; key < keys; ++key) weigh_keys<1>(at + key * kPitch, unit, max, inverse_sum);
    }
  }

  static void differentiate(const DifferentiateArgs<T>& a) {
    for (int64 j = 0; j < a.weights.vectors; ++j) {
      const V delta = load<V>(a.delta + j * kLanes);
      for (int64 key = 0; key < a.weights.keys_of(j); ++key) {
        const int64 n = key * kPitch + j * kLanes;
        const V weight = load<V>(a.weights.data + n);
        V through_output = load<V>(a.gradient + n);
        if (a.keep) {
          const V keep = load<V>(a.keep + n);
          through_output *= keep;
          store(a.weights.data + n, weight * keep);
        }
        // The gradient of a score with weight 0 is 0, even if its value row holds NaN.
        V gradient = weight * (through_output - delta);
        gradient = weight == V{} ? V{} : gradient;
        store(a.gradient + n, gradient);
        if (a.softcap_derivative) store(a.raw + n, gradient * load<V>(a.softcap_derivative + n));
      }
    }
  }

  // The most vectors of columns in a register block. Six rows of them are 12 of 16 registers, or 24
  // of 32. A block reads the right side row after row: of each row, two vectors of AVX2 are one
  // cache line; three would touch two lines.
  static constexpr int kWidest = Isa::kRegisters == 16 ? 2 : 4;

  template <class Elements, int rows, int vectors>
  TW_INLINE static void add_block(const ProductArgs<T>& a, int64 r, int64 c) {
    Block<V, rows, vectors> block;
    block.clear();
    const LeftSide<T>& left = a.left;
    for (int64 s = 0; s < left.segments; ++s)
      block.template add<Elements>(
          Operand<T>{left.data + s * left.next + r * left.row, left.row, left.step},
          a.right.data + s * left.depth * a.right.pitch + c, a.right.pitch, left.depth);
    TW_UNROLL for (int i = 0; i < rows; ++i) {
      TW_UNROLL for (int j = 0; j < vectors; ++j) {
        T* to = a.to.data + (r + i) * a.to.pitch + c + j * kLanes;
        store(to, load<V>(to) + block.sum[i][j]);
      }
    }
  }

  template <class Elements, int vectors>
  TW_INLINE static void add_column(const ProductArgs<T>& a, int64 c) {
    constexpr int kRows = vectors == kWidest ? 6 : kBlockRows<Isa, vectors>;
    int64 r = 0;
    for (; r + kRows <= a.rows; r += kRows) add_block<Elements, kRows, vectors>(a, r, c);
    for (; r + 4 <= a.rows; r += 4) add_block<Elements, 4, vectors>(a, r, c);
    for (; r + 2 <= a.rows; r += 2) add_block<Elements, 2, vectors>(a, r, c);
    for (; r < a.rows; ++r) add_block<Elements, 1, vectors>(a, r, c);
  }

  static void add_slopes(const SlopeArgs<T>& a) {
    for (int64 j = 0; j < a.gradient.vectors; ++j) {
      const V position = load<V>(a.position + j * kLanes);
      V sum = {}, place = {};
      for (int64 key = 0; key < a.gradient.keys_of(j); ++key) {
        sum -= load<V>(a.gradient.data + key * kPitch + j * kLanes) * absolute(position - place);
        place += all<V>(T(1));
      }
      store(a.sum + j * kLanes, load<V>(a.sum + j * kLanes) + sum);
    }
  }

  static void dot_rows(Matrix<const T> a, Matrix<const T> b, int64 rows, T* to) {
    for (int64 r = 0; r < rows; ++r) {
      V sum = {};
      for (int64 c = 0; c < a.pitch; c += kLanes)
        sum += load<V>(a.data + r * a.pitch + c) * load<V>(b.data + r * b.pitch + c);
      T total = sum[0];
      TW_UNROLL for (int i = 1; i < kLanes; ++i) total += sum[i];
      to[r] = total;
    }
  }

  template <class Elements>
  static void add_product(const ProductArgs<T>& a) {
    int64 c = 0;
    for (; c + kWidest * kLanes <= a.columns; c += kWidest * kLanes)
      add_column<Elements, kWidest>(a, c);
    const int64 left = (a.columns - c) / kLanes;
    if (left > 0)
      with_vectors<kWidest - 1>(
          left, [&]<int vectors>() TW_INLINE_LAMBDA { add_column<Elements, vectors>(a, c); });
  }
};

}  // namespace tilewise::cpu
