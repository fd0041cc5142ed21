// The two products for a few queries, as a decoder has them: lanes are columns, and rows of keys
// and values are read once for all queries that share them. What bounds this is memory, and what
// keeps memory busy is how far the processor sees ahead: rows are read one after the other, in few
// instructions, and values come nearer while keys are read.
#pragma once

#include "backends/cpu/kernel/forward.h"
#include "backends/cpu/kernel/memory.h"

namespace tilewise::cpu {

template <class Isa, class T>
struct Few {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  static constexpr int64 kLanes = L::kCount, kPitch = kLanes * Isa::kVectors;
  static constexpr DType kOwn = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
  // Steps along a row that have instructions of their own: each of them then finds its line as far
  // behind the last one as rows are apart, which is what processors foresee.
  static constexpr int64 kApart = 16;
  // Vectors of columns side by side: as many as keep the multipliers busy.
  template <int queries>
  static constexpr int kWide = Isa::kRegisters / 2 / queries > 4 ? 4
                               : Isa::kRegisters / 2 > queries   ? Isa::kRegisters / 2 / queries
                                                                 : 1;

  // A vector of numbers from column c of a row.
  template <DType dtype>
  TW_INLINE static V read(const std::byte* row, int64 c) {
    if constexpr (dtype == kOwn)
      return load<V>(reinterpret_cast<const T*>(row) + c);
    else
      return Convert<Isa>::template read<dtype>(row, c);
  }

  // Whether rows are read where they lie.
  TW_INLINE static bool in_place(const FewArgs<T>& a) {
    return a.factor == 1 && a.rows.dim == a.pitch;
  }

  // Row r as numbers in `copy`.
  TW_INLINE static const std::byte* copied(const FewArgs<T>& a, int64 r, T* copy) {
    Memory<Isa, T>::read(a.rows.dtype, a.rows.at[r], a.rows.dim, a.factor, copy);
    Memory<Isa, T>::zero(copy + a.rows.dim, a.pitch - a.rows.dim);
    return reinterpret_cast<const std::byte*>(copy);
  }

  // Calls body<dtype, copies>: the type in which rows are read, and whether from copies.
  template <class Body>
  TW_INLINE static void with_type(const FewArgs<T>& a, Body body) {
    if (!in_place(a)) return body.template operator()<kOwn, true>();
    if (a.rows.dtype == kOwn) return body.template operator()<kOwn, false>();
    if constexpr (sizeof(T) == 4) {
      if (a.rows.dtype == DType::kBFloat16)
        return body.template operator()<DType::kBFloat16, false>();
      if (a.rows.dtype == DType::kFloat16)
        return body.template operator()<DType::kFloat16, false>();
    }
    body.template operator()<kOwn, true>();
  }

  // Calls body<queries>, with `count` rounded up to a power of two. Rows of zeros pad queries.
  template <class Body>
  TW_INLINE static void with_queries(int64 count, Body body) {
    if (count <= 1) return body.template operator()<1>();
    if (count <= 2) return body.template operator()<2>();
    if constexpr (kLanes >= 4) {
      if (count <= 4) return body.template operator()<4>();
    }
    if constexpr (kLanes >= 8) body.template operator()<8>();
  }

  // What queries have in a vector of columns lies together.
  template <int queries>
  TW_INLINE static void pack(const FewArgs<T>& a) {
    for (int64 c = 0; c < a.pitch; c += kLanes)
      TW_UNROLL for (int q = 0; q < queries; ++q)
          store(a.apart + c * queries + q * kLanes, load<V>(a.by_row + q * a.pitch + c));
  }

  // sum += `side` vectors of a row, from column c on, times the same columns of each of the
  // queries.
  template <DType dtype, int queries, int side>
  TW_INLINE static void add_step(const FewArgs<T>& a, const std::byte* row, int64 c,
                                 V (&sum)[kWide<queries>][queries]) {
    const T* right = a.apart + c * queries;
    TW_UNROLL for (int w = 0; w < side; ++w) {
      const V left = read<dtype>(row, c + w * kLanes);
      TW_UNROLL for (int q = 0; q < queries; ++q) {
        sum[w][q] += left * load<V>(right + (w * queries + q) * kLanes);
      }
    }
  }

  // Sums of one row with each of the queries, still to be added up across. As many bytes of `ahead`
  // come nearer as the row has.
  template <DType dtype, int queries>
  TW_INLINE static void multiply(const FewArgs<T>& a, const std::byte* row, const std::byte* ahead,
                                 V* to) {
    constexpr int kSide = kWide<queries>;
    constexpr int64 kStep = kSide * kLanes, kBytes = core::bytes_of(dtype);
    V sum[kSide][queries] = {};
    const int64 whole = a.pitch / kStep * kStep;
    for (int64 from = 0; from < whole; from += kApart * kStep) {
      TW_UNROLL for (int64 step = 0; step < kApart; ++step) {
        const int64 c = from + step * kStep;
        if (c >= whole) break;
        TW_UNROLL for (int64 i = 0; i < kStep * kBytes; i += kLine) {
          __builtin_prefetch(ahead + c * kBytes + i);
        }
        add_step<dtype, queries, kSide>(a, row, c, sum);
      }
    }
    for (int64 c = whole; c < a.pitch; c += kLanes) add_step<dtype, queries, 1>(a, row, c, sum);
    TW_UNROLL for (int q = 0; q < queries; ++q) {
      TW_UNROLL for (int w = 1; w < kSide; ++w) sum[0][q] += sum[w][q];
      to[q] = sum[0][q];
    }
  }

  // As many sums as a vector has lanes are added up across at once.
  template <DType dtype, bool copies, int queries>
  TW_INLINE static void score_keys(const FewArgs<T>& a, const ScoreArgs<T>& args) {
    constexpr int kKeys = static_cast<int>(kLanes) / queries;
    pack<queries>(a);
    const ScoreTile<T>& tile = args.tile;
    for (int64 key = 0; key < tile.keys; key += kKeys) {
      V sum[kLanes];
      for (int r = 0; r < kKeys; ++r) {
        const int64 held = key + r < tile.keys ? key + r : tile.keys - 1;
        multiply<dtype, queries>(a, copies ? copied(a, held, a.copies) : a.rows.at[held],
                                 args.ahead.at[held], sum + r * queries);
      }
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

  static bool score(const FewArgs<T>& a, const ScoreArgs<T>& args) {
    with_type(a, [&]<DType dtype, bool copies>() TW_INLINE_LAMBDA {
      with_queries(a.count, [&]<int queries>()
                                TW_INLINE_LAMBDA { score_keys<dtype, copies, queries>(a, args); });
    });
    V largest = all<V>(-kInfinity<T>);
    for (int64 key = 0; key < args.tile.keys; ++key)
      largest = larger(largest, load<V>(args.tile.data + key * kPitch));
    store(args.largest, largest);
    return any(Forward<Isa, T>::unusual(largest, all<V>(args.limit)));
  }

  // apart += weights^T . values of `keys` keys from `key` on, in `side` vectors of columns.
  template <DType dtype, int queries, int keys, int side>
  TW_INLINE static void add_columns(const FewArgs<T>& a, const std::byte* const (&row)[keys],
                                    const T* weight, int64 c) {
    V sum[queries][side];
    TW_UNROLL for (int q = 0; q < queries; ++q) {
      TW_UNROLL for (int w = 0; w < side; ++w) {
        sum[q][w] = load<V>(a.apart + q * a.pitch + c + w * kLanes);
      }
    }
    TW_UNROLL for (int r = 0; r < keys; ++r) {
      V value[side];
      TW_UNROLL for (int w = 0; w < side; ++w) value[w] = read<dtype>(row[r], c + w * kLanes);
      TW_UNROLL for (int q = 0; q < queries; ++q) {
        const V share = all<V>(weight[r * kPitch + q]);
        TW_UNROLL for (int w = 0; w < side; ++w) sum[q][w] += share * value[w];
      }
    }
    TW_UNROLL for (int q = 0; q < queries; ++q) {
      TW_UNROLL for (int w = 0; w < side; ++w) {
        store(a.apart + q * a.pitch + c + w * kLanes, sum[q][w]);
      }
    }
  }

  template <DType dtype, bool copies, int queries, int keys>
  TW_INLINE static void add_keys(const FewArgs<T>& a, const ScoreTile<T>& weights, int64 key) {
    constexpr int kSide = kWide<queries>;
    const std::byte* row[keys];
    TW_UNROLL for (int r = 0; r < keys; ++r) {
      row[r] = copies ? copied(a, key + r, a.copies + r * a.pitch) : a.rows.at[key + r];
    }
    const T* weight = weights.data + key * kPitch;
    int64 c = 0;
    for (; c + kSide * kLanes <= a.pitch; c += kSide * kLanes)
      add_columns<dtype, queries, keys, kSide>(a, row, weight, c);
    for (; c < a.pitch; c += kLanes) add_columns<dtype, queries, keys, 1>(a, row, weight, c);
  }

  // by_row = by_row * factor + weights^T . values, the tile's own sum made apart.
  static void accumulate(const FewArgs<T>& a, const ScoreTile<T>& weights, const T* factor) {
    Memory<Isa, T>::zero(a.apart, kMostFew * a.pitch);
    with_type(a, [&]<DType dtype, bool copies>() TW_INLINE_LAMBDA {
      with_queries(a.count, [&]<int queries>() TW_INLINE_LAMBDA {
        int64 key = 0;
        for (; key + kMostFew <= weights.keys; key += kMostFew)
          add_keys<dtype, copies, queries, kMostFew>(a, weights, key);
        for (; key < weights.keys; ++key) add_keys<dtype, copies, queries, 1>(a, weights, key);
      });
    });
    for (int64 q = 0; q < a.count; ++q) {
      for (int64 c = 0; c < a.pitch; c += kLanes) {
        T* to = a.by_row + q * a.pitch + c;
        store(to, load<V>(to) * all<V>(factor[q]) + load<V>(a.apart + q * a.pitch + c));
      }
    }
  }
};

}  // namespace tilewise::cpu
