// The two products for a few queries, as a decoder has them: lanes are columns, and rows of keys
// and values are read once, in their order, for all queries that share them. What is read is used
// at once and not kept, so memory is busy all the time.
#pragma once

#include "backends/cpu/kernel/forward.h"
#include "backends/cpu/kernel/memory.h"

namespace tilewise::cpu {

template <class Isa, class T>
struct Few {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  using I = typename L::I;
  static constexpr int64 kLanes = L::kCount, kPitch = kLanes * Isa::kVectors;
  // Rows of values that are added up in registers before the sum is stored.
  static constexpr int kStep = 4;

  // Row `r` as numbers: where it lies if it can be read there, else a copy in `copy`.
  TW_INLINE static const T* numbers(const Rows& rows, int64 r, T factor, int64 pitch, T* copy) {
    constexpr DType kOwn = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
    if (rows.dtype == kOwn && factor == 1 && rows.dim == pitch)
      return reinterpret_cast<const T*>(rows.at[r]);
    Memory<Isa, T>::read(rows.dtype, rows.at[r], rows.dim, factor, copy);
    Memory<Isa, T>::zero(copy + rows.dim, pitch - rows.dim);
    return copy;
  }

  // Between two rows there is so much to compute that the machine does not see far enough ahead.
  TW_INLINE static void fetch(const Rows& rows, int64 r) {
    constexpr int64 kAhead = 16, kLine = 64;
    if (r + kAhead >= rows.count) return;
    const int64 bytes = rows.dim * core::bytes_of(rows.dtype);
    for (int64 i = 0; i < bytes; i += kLine) __builtin_prefetch(rows.at[r + kAhead] + i);
  }

  // Sums of `queries` queries with `keys` rows, along whose columns they run in step.
  template <int queries, int keys>
  TW_INLINE static void multiply(const FewArgs<T>& a, const T* const (&row)[keys],
                                 V (&sum)[kLanes]) {
    for (int64 c = 0; c < a.pitch; c += kLanes) {
      V right[queries];
      TW_UNROLL for (int q = 0; q < queries; ++q) right[q] = load<V>(a.by_row + q * a.pitch + c);
      TW_UNROLL for (int r = 0; r < keys; ++r) {
        const V left = load<V>(row[r] + c);
        TW_UNROLL for (int q = 0; q < queries; ++q) sum[r * queries + q] += left * right[q];
      }
    }
  }

  // As many sums as a vector has lanes: of `queries` queries and as many keys as that leaves.
  template <int queries>
  TW_INLINE static void score_keys(const FewArgs<T>& a, const ScoreTile<T>& tile) {
    constexpr int kKeys = static_cast<int>(kLanes) / queries;
    for (int64 key = 0; key < tile.keys; key += kKeys) {
      const T* row[kKeys];
      TW_UNROLL for (int r = 0; r < kKeys; ++r) {
        const int64 held = key + r < tile.keys ? key + r : tile.keys - 1;
        fetch(a.rows, held);
        row[r] = numbers(a.rows, held, a.factor, a.pitch, a.copies + r * a.pitch);
      }
      V sum[kLanes] = {};
      multiply<queries>(a, row, sum);
      transpose(sum);
      V total = sum[0];
      TW_UNROLL for (int i = 1; i < kLanes; ++i) total += sum[i];
      const int64 count = tile.keys - key < kKeys ? tile.keys - key : kKeys;
      for (int64 r = 0; r < count; ++r) {
        T* to = tile.data + (key + r) * kPitch;
        store(to, V{});
        TW_UNROLL for (int q = 0; q < queries; ++q) to[q] = total[r * queries + q];
      }
    }
  }

  // Queries are padded with rows of zeros to a power of two.
  static bool score(const FewArgs<T>& a, const ScoreArgs<T>& args) {
    if (a.count <= 1) {
      score_keys<1>(a, args.tile);
    } else if (a.count <= 2) {
      score_keys<2>(a, args.tile);
    } else if constexpr (kLanes >= 4) {
      if (a.count <= 4) {
        score_keys<4>(a, args.tile);
      } else if constexpr (kLanes >= 8) {
        score_keys<8>(a, args.tile);
      }
    }
    V largest = all<V>(-kInfinity<T>);
    for (int64 key = 0; key < args.tile.keys; ++key)
      largest = larger(largest, load<V>(args.tile.data + key * kPitch));
    store(args.largest, largest);
    return any(Forward<Isa, T>::unusual(largest, all<V>(args.limit)));
  }

  // apart += weights^T . values of kStep keys from `key` on, of which those behind the last count
  // nothing.
  TW_INLINE static void add_keys(const FewArgs<T>& a, const ScoreTile<T>& weights, int64 key,
                                 T* apart) {
    const T* row[kStep];
    T weight[kStep][kMostFew] = {};
    TW_UNROLL for (int r = 0; r < kStep; ++r) {
      const bool held = key + r < weights.keys;
      fetch(a.rows, key + r);
      row[r] = numbers(a.rows, held ? key + r : key, a.factor, a.pitch, a.copies + r * a.pitch);
      for (int64 q = 0; held && q < a.count; ++q)
        weight[r][q] = weights.data[(key + r) * kPitch + q];
    }
    for (int64 c = 0; c < a.pitch; c += kLanes) {
      V right[kStep];
      TW_UNROLL for (int r = 0; r < kStep; ++r) right[r] = load<V>(row[r] + c);
      for (int64 q = 0; q < a.count; ++q) {
        V sum = load<V>(apart + q * a.pitch + c);
        TW_UNROLL for (int r = 0; r < kStep; ++r) sum += all<V>(weight[r][q]) * right[r];
        store(apart + q * a.pitch + c, sum);
      }
    }
  }

  // by_row = by_row * factor + weights^T . values, the tile's own sum made apart.
  static void accumulate(const FewArgs<T>& a, const ScoreTile<T>& weights, const T* factor,
                         T* apart) {
    Memory<Isa, T>::zero(apart, a.count * a.pitch);
    for (int64 key = 0; key < weights.keys; key += kStep) add_keys(a, weights, key, apart);
    for (int64 q = 0; q < a.count; ++q) {
      for (int64 c = 0; c < a.pitch; c += kLanes) {
        T* to = a.by_row + q * a.pitch + c;
        store(to, load<V>(to) * all<V>(factor[q]) + load<V>(apart + q * a.pitch + c));
      }
    }
  }
};

}  // namespace tilewise::cpu
