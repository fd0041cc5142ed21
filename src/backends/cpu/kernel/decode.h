// The scores of decoding, and what the scores share with the product with values (decode_values.h).
// A vector holds columns of a row, not queries; a row of keys or values comes from memory once for
// all queries of its key head. Memory bounds decoding, so loads must always be in flight: rows are
// read in order, reading keys prefetches values, and reading values prefetches the next keys.
#pragma once

#include "backends/cpu/kernel/forward.h"
#include "backends/cpu/kernel/memory.h"

namespace tilewise::cpu {

template <class Isa>
concept MultipliesPairs = requires {
  typename Isa::Dot;
};

template <class Isa, class T>
struct Decode {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  static constexpr int64 kLanes = L::kCount, kPitch = kLanes * Isa::kVectors;
  static constexpr DType kOwn = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
  // Vectors of columns with sums of their own: enough independent sums to keep the FMA ports busy.
  template <int queries>
  static constexpr int kWide = Isa::kRegisters / 2 / queries > 4 ? 4
                               : Isa::kRegisters / 2 > queries   ? Isa::kRegisters / 2 / queries
                                                                 : 1;
  // Vectors of a row that one step of multiply() reads.
  template <int queries>
  static constexpr int kSide = kWide<queries> > 2 ? kWide<queries> : 2;
  // Unrolled steps along a row, enough for 256 columns. Each load instruction then has a constant
  // stride, one row, which the hardware prefetcher learns. More steps would cost much compile time
  // and change little for longer rows.
  template <int queries>
  static constexpr int64 kApart = 256 / (kSide<queries> * kLanes);
  // Columns of the rows of multiply_short(): a query of this length fits into registers.
  static constexpr int64 kShort = 64;
  // Queries whose sums over values fit into registers at once.
  template <int queries>
  static constexpr int kAtOnce = queries > Isa::kRegisters / 4 ? Isa::kRegisters / 4 : queries;

  // Reads a vector of numbers from column c of a row.
  template <DType dtype>
  TW_INLINE static V read(const std::byte* row, int64 c) {
    if constexpr (dtype == kOwn)
      return load<V>(reinterpret_cast<const T*>(row) + c);
    else
      return Convert<Isa>::template read<dtype>(row, c);
  }

  // Whether rows of `dtype` are multiplied as bfloat16 pairs.
  template <DType dtype>
  static constexpr bool kPairs = dtype == DType::kBFloat16&& MultipliesPairs<Isa>;

  // 2 * kLanes codes of 16 bits from column c of a row.
  using CodeVector = typename VectorOf<uint16, Isa::kBytes>::Type;
  TW_INLINE static CodeVector codes(const std::byte* row, int64 c) {
    return load<CodeVector>(reinterpret_cast<const uint16*>(row) + c);
  }

  // Reads `side` vectors from column c of a row. bfloat16 gives two vectors at a time, of the even
  // and of the odd columns, which takes half the work of keeping columns in order.
  template <DType dtype>
  static constexpr bool kSplit = dtype == DType::kBFloat16;
  template <DType dtype, int side>
  TW_INLINE static void read(const std::byte* row, int64 c, V (&to)[side]) {
    if constexpr (kSplit<dtype> && side > 1) {
      using U = typename L::U;
      TW_UNROLL for (int w = 0; w < side; w += 2) {
        const U both = bits<U>(codes(row, c + w * kLanes));
        to[w] = bits<V>(both << 16);
        to[w + 1] = bits<V>(both & 0xFFFF0000);
      }
    } else {
      TW_UNROLL for (int w = 0; w < side; ++w) to[w] = read<dtype>(row, c + w * kLanes);
    }
  }

  // Copies row r to `copy` as numbers. Not inlined, because it has code for every type.
  [[gnu::noinline]] static std::byte* copied(const DecodeArgs<T>& a, int64 r, T* copy) {
    Memory<Isa, T>::read(a.rows.dtype, a.rows.at[r], a.rows.dim, a.factor, copy);
    Memory<Isa, T>::zero(copy + a.rows.dim, a.pitch - a.rows.dim);
    return reinterpret_cast<std::byte*>(copy);
  }

  // The row r to read: the caller's, or a copy of it.
  TW_INLINE static const std::byte* row_of(const DecodeArgs<T>& a, int64 r, T* copy) {
    return a.copied ? copied(a, r, copy) : a.rows.at[r];
  }

  // Calls body<dtype>() with the type of the rows that are read; copies have type kOwn.
  template <class Body>
  TW_INLINE static void with_type(const DecodeArgs<T>& a, Body body) {
    const DType dtype = a.copied ? kOwn : a.rows.dtype;
    if constexpr (sizeof(T) == 4) {
      if (dtype == DType::kBFloat16) return body.template operator()<DType::kBFloat16>();
      if (dtype == DType::kFloat16) return body.template operator()<DType::kFloat16>();
    }
    body.template operator()<kOwn>();
  }

  // Calls body<queries>() with `count` rounded up to a power of two; rows of zeros pad the queries.
  template <class Body>
  TW_INLINE static void with_queries(int64 count, Body body) {
    if (count <= 1) return body.template operator()<1>();
    if (count <= 2) return body.template operator()<2>();
    if constexpr (kLanes >= 4) {
      if (count <= 4) return body.template operator()<4>();
    }
    if constexpr (kLanes >= 8) body.template operator()<8>();
  }

  // Packs queries for `score`: for each vector of columns, the vectors of all queries side by side,
  // with columns in the order in which read() gives them.
  static void pack(const DecodeArgs<T>& a, const T* rows) {
    with_type(a, [&]<DType dtype>() TW_INLINE_LAMBDA {
      with_queries(a.count,
                   [&]<int queries>() TW_INLINE_LAMBDA { pack_rows<dtype, queries>(a, rows); });
    });
  }

  template <DType dtype, int queries>
  TW_INLINE static void pack_rows(const DecodeArgs<T>& a, const T* rows) {
    const int64 split = kSplit<dtype> ? whole_steps<queries>(a) : 0;
    for (int64 c = 0; c < a.pitch; c += kLanes) {
      TW_UNROLL for (int q = 0; q < queries; ++q) {
        const T* row = rows + q * a.pitch;
        const int64 even = c / (2 * kLanes) * 2 * kLanes;
        const V x = load<V>(row + even);
        T* to = a.columns + c * queries + q * kLanes;
        if (c >= split)
          store(to, load<V>(row + c));
        else if constexpr (kPairs<dtype>)
          store(a.columns + even * queries + q * kLanes,
                Isa::Dot::behind(x, load<V>(row + even + kLanes)));
        else if (c == even)
          store(to, mix<EveryOther<false>>(x, load<V>(row + even + kLanes)));
        else
          store(to, mix<EveryOther<true>>(x, load<V>(row + even + kLanes)));
      }
    }
  }

  template <int queries>
  TW_INLINE static int64 whole_steps(const DecodeArgs<T>& a) {
    constexpr int64 kStep = kSide<queries> * kLanes;
    return a.pitch / kStep * kStep;
  }

  // sum += `side` vectors of a row, from column c on, times the same columns of each query.
  template <DType dtype, int queries, int side, int wide>
  TW_INLINE static void add_step(const DecodeArgs<T>& a, const std::byte* row, int64 c,
                                 V (&sum)[wide][queries]) {
    const T* right = a.columns + c * queries;
    if constexpr (kPairs<dtype> && side > 1) {
      TW_UNROLL for (int w = 0; w < side; w += 2) {
        const V pairs = bits<V>(codes(row, c + w * kLanes));
        TW_UNROLL for (int q = 0; q < queries; ++q) {
          V& total = sum[w / 2 % wide][q];
          total = Isa::Dot::add(total, pairs, load<V>(right + (w * queries + q) * kLanes));
        }
      }
      return;
    }
    V left[side];
    read<dtype>(row, c, left);
    TW_UNROLL for (int w = 0; w < side; ++w) {
      TW_UNROLL for (int q = 0; q < queries; ++q) {
        sum[w % wide][q] += left[w] * load<V>(right + (w * queries + q) * kLanes);
      }
    }
  }

  // Multiplies a row by each query: the lanes of to[q] add up to query q's score. Prefetches the
  // cache lines of `fetched` along the way.
  template <DType dtype, int queries>
  TW_INLINE static void multiply(const DecodeArgs<T>& a, const std::byte* row,
                                 const std::byte* fetched, V* to) {
    constexpr int64 kStep = kSide<queries> * kLanes, kBytes = core::bytes_of(dtype);
    V sum[kWide<queries>][queries] = {};
    const int64 whole = whole_steps<queries>(a);
    for (int64 from = 0; from < whole; from += kApart<queries> * kStep) {
      TW_UNROLL for (int64 step = 0; step < kApart<queries>; ++step) {
        const int64 c = from + step * kStep;
        if (c >= whole) break;
        if (step * kStep * kBytes % kLine == 0) {
          TW_UNROLL for (int64 i = 0; i < kStep * kBytes; i += kLine)
              fetch(fetched + c * kBytes + i);
        }
        add_step<dtype, queries, kSide<queries>>(a, row, c, sum);
      }
    }
    for (int64 c = whole; c < a.pitch; c += kLanes) add_step<dtype, queries, 1>(a, row, c, sum);
    TW_UNROLL for (int q = 0; q < queries; ++q) {
      TW_UNROLL for (int w = 1; w < kWide<queries>; ++w) sum[0][q] += sum[w][q];
      to[q] = sum[0][q];
    }
  }

  // Stores the scores of keys r .. count - 1 in rows `kPitch` apart. Lane q of a row is query q's
  // score; lanes beyond the queries repeat the queries' scores.
  template <int queries, int r = 0>
  TW_INLINE static void keep(V total, int64 count, T* to) {
    if (r >= count) return;
    store(to, mix<Again<r * queries, queries>>(total, total));
    if constexpr ((r + 1) * queries < kLanes) keep<queries, r + 1>(total, count, to + kPitch);
  }

  // Prefetches into L2, because a tile is larger than L1.
  TW_INLINE static void fetch(const std::byte* at) { __builtin_prefetch(at, 0, 2); }

  TW_INLINE static void fetch_row(const DecodeArgs<T>& a, int64 r) {
    if (r >= a.prefetch.count) return;
    for (int64 i = 0; i < a.prefetch.bytes; i += kLine) fetch(a.prefetch.at[r] + i);
  }

  // The row that multiply() prefetches while it reads `row`: row r of a.prefetch, if it is as long
  // as `row` and `row` is no copy. Otherwise row r is prefetched here, and multiply() gets `row`,
  // whose prefetch does nothing.
  template <DType dtype>
  TW_INLINE static const std::byte* fetched(const DecodeArgs<T>& a, int64 r, const std::byte* row) {
    if (r >= a.prefetch.count) return row;
    if (!a.copied && a.prefetch.bytes == a.pitch * core::bytes_of(dtype)) return a.prefetch.at[r];
    fetch_row(a, r);
    return row;
  }

  // multiply() for one query and kLanes rows of 64 numbers. The query and one sum for each row stay
  // in registers. In place of rows that do not exist, the last row is read again.
  template <DType dtype>
  TW_INLINE static void multiply_short(const DecodeArgs<T>& a, int64 key, V (&to)[kLanes]) {
    constexpr int64 kBytes = kShort * core::bytes_of(dtype);
    const bool along = key + kLanes <= a.prefetch.count && a.prefetch.bytes == kBytes;
    if (!along) {
      for (int64 r = key; r < key + kLanes; ++r) fetch_row(a, r);
    }
    std::byte *const *row = a.rows.at + key, *const *fetched = along ? a.prefetch.at + key : row;
    const int64 last = a.rows.count - 1 - key;
    TW_UNROLL for (int r = 0; r < kLanes; ++r) {
      TW_UNROLL for (int64 i = 0; i < kBytes; i += kLine) {
        if (along) fetch(fetched[r] + i);
      }
      V sum[1][1] = {};
      add_step<dtype, 1, kShort / kLanes>(a, row[r < last ? r : last], 0, sum);
      to[r] = sum[0][0];
    }
  }

  // Scores kLanes / queries keys from `key` on; adds their kLanes sums up across lanes at once.
  template <DType dtype, int queries>
  TW_INLINE static void score_keys(const DecodeArgs<T>& a, int64 key) {
    V sum[kLanes];
    const bool is_short = queries == 1 && a.pitch == kShort && !a.copied;
    if constexpr (queries == 1) {
      if (is_short) multiply_short<dtype>(a, key, sum);
    }
    for (int64 r = 0; !is_short && r < kLanes / queries; ++r) {
      const int64 held = key + r < a.rows.count ? key + r : a.rows.count - 1;
      const std::byte* row = row_of(a, held, a.copies);
      multiply<dtype, queries>(a, row, fetched<dtype>(a, held, row), sum + r * queries);
    }
    const V total = add_across(sum);
    if (queries == 1 && a.step == 1) return store(a.scores + key, total);
    keep<queries>(total, a.rows.count - key, a.scores + key * kPitch);
  }

  // Scores all heads, kRowsAtOnce rows of one head and then of the next: the reads stay close
  // together in memory, and a head's queries stay in L1.
  template <DType dtype, int queries>
  TW_INLINE static void score_heads(const DecodeHeads<T>& heads) {
    constexpr int64 kKeys = kLanes / queries;
    static_assert(kRowsAtOnce % kKeys == 0);
    const int64 keys = heads.at[0].rows.count;
    for (int64 first = 0; first < keys; first += kRowsAtOnce) {
      const int64 end = first + kRowsAtOnce < keys ? first + kRowsAtOnce : keys;
      for (int64 h = 0; h < heads.count; ++h)
        for (int64 key = first; key < end; key += kKeys)
          score_keys<dtype, queries>(heads.at[h], key);
    }
  }

  static void score(const DecodeHeads<T>& heads) {
    with_type(heads.at[0], [&]<DType dtype>() TW_INLINE_LAMBDA {
      with_queries(heads.at[0].count,
                   [&]<int queries>() TW_INLINE_LAMBDA { score_heads<dtype, queries>(heads); });
    });
  }

  // Finds each lane's largest score. Returns whether one is NaN, infinite or not within a.limit.
  static bool survey(const ScoreArgs<T>& a) {
    V largest = all<V>(-kInfinity<T>);
    for (int64 key = 0; key < a.tile.keys; ++key)
      largest = larger(largest, load<V>(a.tile.data + key * kPitch));
    store(a.largest, largest);
    return any(Forward<Isa, T>::beyond_limit(a));
  }
};

}  // namespace tilewise::cpu
