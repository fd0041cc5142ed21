// Decoding's product of weights with values.
#pragma once

#include "backends/cpu/kernel/decode.h"

namespace tilewise::cpu {

template <class Isa, class T>
struct DecodeValues : Decode<Isa, T> {
  using F = Decode<Isa, T>;
  using V = typename F::V;
  using CodeVector = typename F::CodeVector;
  using F::kLanes, F::kPitch;

  // sum += weights^T . values of two keys, or of one if `next` is null, with weights in pairs.
  // Every other run of four columns goes into the second vector; gather() restores the order.
  template <int queries, int wide>
  TW_INLINE static void add_pairs(const std::byte* key, const std::byte* next, const T* pairs,
                                  int64 c, V (&sum)[queries][wide]) {
    TW_UNROLL for (int w = 0; w < wide; w += 2) {
      const CodeVector a = F::codes(key, c + w * kLanes);
      const CodeVector b = next ? F::codes(next, c + w * kLanes) : CodeVector{};
      const V first = bits<V>(mix<Alternating<1, 8, false>>(a, b));
      const V second = bits<V>(mix<Alternating<1, 8, true>>(a, b));
      TW_UNROLL for (int q = 0; q < queries; ++q) {
        const V weights = Isa::Dot::template spread<V>(pairs + q);
        sum[q][w] = Isa::Dot::add(sum[q][w], weights, first);
        sum[q][w + 1] = Isa::Dot::add(sum[q][w + 1], weights, second);
      }
    }
  }

  // sum += weights^T . values of one key, multiplied as numbers.
  template <DType dtype, int queries, int wide>
  TW_INLINE static void add_numbers(const std::byte* row, const T* weight, int64 c,
                                    V (&sum)[queries][wide]) {
    V value[wide];
    F::template read<dtype>(row, c, value);
    TW_UNROLL for (int w = 0; w < wide; ++w) {
      const V x = loaded(value[w]);
      TW_UNROLL for (int q = 0; q < queries; ++q) sum[q][w] += all<V>(weight[q]) * x;
    }
  }

  // Weights of consecutive keys: the weights of key n are at at[n * step].
  struct Weights {
    T* at;
    int64 step;
  };

  // At most kRowsAtOnce rows of values, which are read again for each range of columns, and the
  // queries' weights of these rows: as numbers, and in pairs for instructions that multiply pairs.
  struct Values {
    std::byte* const* row;
    int64 count;
    Weights weights, pairs;
  };

  // sums += weights^T . values, in `wide` vectors of columns from c on.
  template <DType dtype, int queries, int wide>
  TW_INLINE static void add_columns(const Values& values, int64 c, Matrix<T> sums) {
    V sum[queries][wide];
    T* to = sums.data + c;
    TW_UNROLL for (int q = 0; q < queries; ++q) {
      TW_UNROLL for (int w = 0; w < wide; ++w) sum[q][w] =
          load<V>(to + q * sums.pitch + w * kLanes);
    }
    if constexpr (F::template kPairs<dtype> && wide > 1) {
      for (int64 r = 0; r < values.count; r += 2) {
        const std::byte* next = r + 1 < values.count ? values.row[r + 1] : nullptr;
        add_pairs(values.row[r], next, values.pairs.at + r / 2 * values.pairs.step, c, sum);
      }
    } else {
      for (int64 r = 0; r < values.count; ++r)
        add_numbers<dtype>(values.row[r], values.weights.at + r * values.weights.step, c, sum);
    }
    TW_UNROLL for (int q = 0; q < queries; ++q) {
      TW_UNROLL for (int w = 0; w < wide; ++w) store(to + q * sums.pitch + w * kLanes, sum[q][w]);
    }
  }

  // Where the pairs of weights go: into the second vector of each even key's row, or, if `step` is
  // 1, behind all weights.
  TW_INLINE static Weights pairs_of(const DecodeArgs<T>& a) {
    static_assert(kPitch >= 2 * kLanes);
    if (a.step != 1) return {a.scores + kLanes, 2 * kPitch};
    return {a.scores + (a.rows.count + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes), 1};
  }

  TW_INLINE static void pack_weights(const DecodeArgs<T>& a) {
    T* pairs = pairs_of(a).at;
    for (int64 key = 0; a.step == 1 && key < a.rows.count; key += 2 * kLanes) {
      const T* two = a.scores + key;
      store(pairs + key / 2, Isa::Dot::behind(load<V>(two), load<V>(two + kLanes)));
    }
    for (int64 key = 0; a.step != 1 && key < a.rows.count; key += 2) {
      const T* even = a.scores + key * kPitch;
      const V odd = key + 1 < a.rows.count ? load<V>(even + kPitch) : V{};
      store(pairs + key * kPitch, Isa::Dot::beside(load<V>(even), odd));
    }
  }

  template <DType dtype, int queries>
  TW_INLINE static void add_rows(const DecodeArgs<T>& a, int64 first) {
    constexpr int kQueries = F::template kAtOnce<queries>, kVectors = F::template kSide<kQueries>;
    const int64 left = a.rows.count - first;
    Values values;
    values.row = a.rows.at + first;
    values.count = left < kRowsAtOnce ? left : kRowsAtOnce;
    for (int64 r = first; r < a.prefetch.count && r < first + values.count; ++r) F::fetch_row(a, r);
    std::byte* copies[kRowsAtOnce];
    if (a.copied) {
      for (int64 r = 0; r < values.count; ++r)
        copies[r] = F::copied(a, first + r, a.copies + r * a.pitch);
      values.row = copies;
    }
    const int64 whole = F::template whole_steps<kQueries>(a);
    const Weights pairs = pairs_of(a);
    for (int q = 0; q < queries; q += kQueries) {
      values.weights = {a.scores + first * a.step + q, a.step};
      values.pairs = {pairs.at + first / 2 * pairs.step + q, pairs.step};
      const Matrix<T> sums{a.columns + q * a.pitch, a.pitch};
      for (int64 c = 0; c < whole; c += kVectors * kLanes)
        add_columns<dtype, kQueries, kVectors>(values, c, sums);
      for (int64 c = whole; c < a.pitch; c += kLanes)
        add_columns<dtype, kQueries, 1>(values, c, sums);
    }
  }

  // to = to * factor + sums, after putting the columns of `sums` back in order.
  template <DType dtype, int queries>
  TW_INLINE static void gather(const DecodeArgs<T>& a, const T* factor, T* to) {
    const int64 split =
        F::template kSplit<dtype> ? F::template whole_steps<F::template kAtOnce<queries>>(a) : 0;
    for (int64 q = 0; q < a.count; ++q) {
      const V shrunk = all<V>(factor[q]);
      const T* sums = a.columns + q * a.pitch;
      T* row = to + q * a.pitch;
      const auto add = [&](int64 c, V x)
                           TW_INLINE_LAMBDA { store(row + c, load<V>(row + c) * shrunk + x); };
      int64 c = 0;
      for (; c < split; c += 2 * kLanes) {
        constexpr int kRun = F::template kPairs<dtype> ? 4 : 1;
        const V even = load<V>(sums + c), odd = load<V>(sums + c + kLanes);
        add(c, mix<Alternating<kRun, kLanes, false>>(even, odd));
        add(c + kLanes, mix<Alternating<kRun, kLanes, true>>(even, odd));
      }
      for (; c < a.pitch; c += kLanes) add(c, load<V>(sums + c));
    }
  }

  // to = to * factor + weights^T . values. The tile's sum is made separately, then added.
  static void accumulate(const DecodeArgs<T>& a, const T* factor, T* to) {
    F::with_type(a, [&]<DType dtype>() TW_INLINE_LAMBDA {
      F::with_queries(a.count, [&]<int queries>() TW_INLINE_LAMBDA {
        Memory<Isa, T>::zero(a.columns, queries * a.pitch);
        if constexpr (F::template kPairs<dtype>) pack_weights(a);
        for (int64 first = 0; first < a.rows.count; first += kRowsAtOnce)
          add_rows<dtype, queries>(a, first);
        gather<dtype, queries>(a, factor, to);
      });
    });
  }
};

}  // namespace tilewise::cpu
