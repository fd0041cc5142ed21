// The steps of the forward pass on an instruction set: score, mask, map, raise, accumulate.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/exponential.h"
#include "backends/cpu/simd/product.h"

namespace tilewise::cpu {

// The bound that core::finite clamps to, and the factor of core::to_log2.
template <class T>
inline constexpr T kLargest = sizeof(T) == 4 ? static_cast<T>(0x1.fffffep127)
                                             : static_cast<T>(0x1.fffffffffffffp1023);
template <class T>
inline constexpr T kLog2e = static_cast<T>(1.44269504088896340735992468100189214);

template <class Isa, class T>
struct Forward {
  using L = Lanes<Isa, T>;
  using V = typename L::V;
  using I = typename L::I;
  static constexpr int kVectors = Isa::kVectors;
  static constexpr int64 kLanes = L::kCount, kPitch = kLanes * kVectors;

  // The lanes whose largest score is NaN, infinite or so large that scaling might overflow.
  TW_INLINE static I unusual(V largest, V limit) {
    return ~((largest < limit) & (largest > -limit));
  }

  // Prefetches rows while a tile is scored: some rows with each block of keys, so that the last
  // block completes them.
  struct Fetched {
    TW_INLINE Fetched(const Prefetch& rows, const ScoreTile<T>& tile, int64 block)
        : prefetch(rows), step((rows.count * block + tile.keys - 1) / tile.keys) {}

    TW_INLINE void more() {
      // The hint makes compilers place the loops below outside of the product's instructions.
      if (next >= prefetch.count) [[likely]]
        return;
      for (int64 n = 0; n < step && next < prefetch.count; ++n, ++next)
        for (int64 i = 0; i < prefetch.bytes; i += kLine)
          __builtin_prefetch(prefetch.at[next] + i, 0, 2);
    }

    const Prefetch& prefetch;
    int64 step, next = 0;
  };

  // Elements of a product, numbers or pairs, that `numbers` numbers make.
  template <class Elements>
  TW_INLINE static int64 elements(int64 numbers) {
    return (numbers + Elements::kPacked - 1) / Elements::kPacked;
  }

  // Scores keys from `key` on for vectors from `first` on; earlier vectors have no keys there.
  template <class Elements, int vectors, int first>
  TW_INLINE static void score_from(int64 key, const ScoreArgs<T>& a, Fetched& keys, Fetched& bias) {
    constexpr int kLeft = vectors - first, kRows = kBlockRows<Isa, kLeft>;
    static_assert(kRowStep % kRows == 0);
    for (; key < a.tile.keys_of(first); key += kRows) {
      keys.more();
      bias.more();
      Block<V, kRows, kLeft> block;
      block.clear();
      block.template add<Elements>(Operand<T>{a.key.data + key * a.key.pitch, a.key.pitch, 1},
                                   a.query + first * kLanes, kPitch, elements<Elements>(a.dim));
      block.keep(a.tile.data + key * kPitch + first * kLanes, kPitch, a.tile.keys - key,
                 a.largest + first * kLanes);
    }
    if constexpr (kLeft > 1) score_from<Elements, vectors, first + 1>(key, a, keys, bias);
  }

  template <class Elements, int vectors>
  TW_INLINE static I score_in(const ScoreArgs<T>& a) {
    constexpr int kRows = kBlockRows<Isa, vectors>;
    clear_largest(a);
    Fetched keys(a.prefetch, a.tile, kRows), bias(a.prefetch_bias, a.tile, kRows);
    score_from<Elements, vectors, 0>(0, a, keys, bias);
    return beyond_limit(a);
  }

  TW_INLINE static void clear_largest(const ScoreArgs<T>& a) {
    for (int64 j = 0; j < a.tile.vectors; ++j) store(a.largest + j * kLanes, all<V>(-kInfinity<T>));
  }

  // The lanes with an unusual() largest score in any vector.
  TW_INLINE static I beyond_limit(const ScoreArgs<T>& a) {
    I beyond = {};
    for (int64 j = 0; j < a.tile.vectors; ++j)
      beyond |= unusual(load<V>(a.largest + j * kLanes), all<V>(a.limit));
    return beyond;
  }

  template <class Elements>
  static bool score(const ScoreArgs<T>& a) {
    I beyond = {};
    with_vectors<kVectors>(a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA {
      beyond = score_in<Elements, vectors>(a);
    });
    return any(beyond);
  }

  static bool mask(const ScoreArgs<T>& a, const Limits<T>& limits) {
    I beyond = {};
    for (int64 j = 0; j < a.tile.vectors; ++j) {
      const V begin = load<V>(limits.begin + j * kLanes), end = load<V>(limits.end + j * kLanes);
      V largest = all<V>(-kInfinity<T>), place = {};
      I sees_any = {};
      for (int64 key = 0; key < a.tile.keys_of(j); ++key) {
        const int64 n = key * kPitch + j * kLanes;
        I seen = (place >= begin) & (place < end);
        if (limits.bias) seen &= load<V>(limits.bias + n) != all<V>(-kInfinity<T>);
        const V x = seen ? load<V>(a.tile.data + n) : all<V>(-kInfinity<T>);
        largest = larger(largest, x);
        sees_any |= seen;
        store(a.tile.data + n, x);
        place += all<V>(T(1));
      }
      store(a.largest + j * kLanes, largest);
      beyond |= unusual(largest, all<V>(a.limit)) & sees_any;
    }
    return any(beyond);
  }

  // core::finite, lane by lane.
  TW_INLINE static V finite(V x) {
    return smaller(larger(x, all<V>(-kLargest<T>)), all<V>(kLargest<T>));
  }

  // core::to_log2, lane by lane.
  TW_INLINE static V to_log2(V x) {
    const V limit = all<V>(kLargest<T> / 2), scaled = limit * all<V>(kLog2e<T>);
    V result = x * all<V>(kLog2e<T>);
    result = x < -limit ? -scaled : result;
    return x > limit ? scaled : result;
  }

  // Scales and softcaps the raw scores at index n of the tile.
  TW_INLINE static V bend(const MapArgs<T>& a, int64 n, V raw) {
    const V x = raw * all<V>(a.scale);
    if (a.softcap <= 0) return x;
    const V ratio = tanh<Isa, T>(x / all<V>(a.softcap));
    if (a.softcap_derivative)
      store(a.softcap_derivative + n, (all<V>(T(1)) - ratio) * (all<V>(T(1)) + ratio));
    return all<V>(a.softcap) * ratio;
  }

  static void map(const MapArgs<T>& a) {
    for (int64 j = 0; j < a.tile.vectors; ++j) {
      const I mapped = unusual(load<V>(a.largest + j * kLanes), all<V>(a.limit));
      if (!any(mapped)) continue;
      const V begin = load<V>(a.limits.begin + j * kLanes),
              end = load<V>(a.limits.end + j * kLanes);
      V largest = all<V>(-kInfinity<T>), place = {};
      for (int64 key = 0; key < a.tile.keys_of(j); ++key) {
        const int64 n = key * kPitch + j * kLanes;
        const V raw = load<V>(a.tile.data + n);
        V x = finite(bend(a, n, raw));
        if (a.slope) {
          const V away = absolute(load<V>(a.position + j * kLanes) - place);
          x = finite(x - load<V>(a.slope + j * kLanes) * away);
        }
        I seen = (place >= begin) & (place < end);
        if (a.limits.bias) {
          const V bias = load<V>(a.limits.bias + n);
          x += bias;
          seen &= bias != all<V>(-kInfinity<T>);
        }
        x = mapped ? to_log2(x) : raw;
        x = seen ? x : all<V>(-kInfinity<T>);
        largest = larger(largest, x);
        store(a.tile.data + n, x);
        place += all<V>(T(1));
      }
      store(a.largest + j * kLanes, largest);
      store(a.unit + j * kLanes, mapped ? all<V>(T(1)) : load<V>(a.unit + j * kLanes));
    }
  }

  // Stores weights as numbers; Pairs::Narrow stores pairs.
  struct Whole {
    TW_INLINE static void put(T* column, int64 key, V x) { store(column + key * kPitch, x); }
    TW_INLINE static void put(T* column, int64 key, V x, V y) {
      put(column, key, x);
      put(column, key + 1, y);
    }
  };

  // The online softmax's step for vector j: raises the running max, makes weights of scores and
  // adds them to the running sum, which includes dropped weights.
  template <class Put, bool drops>
  TW_INLINE static void raise_lanes(const RaiseArgs<T>& a, int64 j) {
    const V unit = load<V>(a.unit + j * kLanes), nothing = all<V>(-kInfinity<T>);
    const V before = load<V>(a.rows.max + j * kLanes);
    const V max = larger(before, load<V>(a.largest + j * kLanes) * unit);
    const V shift = max == nothing ? V{} : max;
    const V factor = exp2<Isa, T>(before - shift);
    T* column = a.tile.data + j * kLanes;
    const auto kept = [&](V x, int64 key) TW_INLINE_LAMBDA {
      return drops ? x * load<V>(a.keep + key * kPitch + j * kLanes) : x;
    };
    // A key's index alone decides which partial sum it joins, so keys that only other lanes see
    // change no bit of this lane.
    V sum[4] = {};
    const int64 keys = a.tile.keys_of(j);
    const auto take = [&]<int first, int count>(int64 key) TW_INLINE_LAMBDA {
      V x[count];
      TW_UNROLL for (int i = 0; i < count; ++i) x[i] =
          load<V>(column + (key + i) * kPitch) * unit - shift;
      exp2<Isa, T>(x);
      TW_UNROLL for (int i = 0; i < count; ++i) sum[first + i] += x[i];
      if constexpr (count == 1) Put::put(column, key, kept(x[0], key));
      TW_UNROLL for (int i = 0; i + 2 <= count; i += 2)
          Put::put(column, key + i, kept(x[i], key + i), kept(x[i + 1], key + i + 1));
    };
    int64 key = 0;
    for (; key + 4 <= keys; key += 4) take.template operator()<0, 4>(key);
    if (key + 2 <= keys) take.template operator()<0, 2>(key);
    if (key + 3 == keys) take.template operator()<2, 1>(key + 2);
    if (key + 1 == keys) take.template operator()<0, 1>(key);
    store(a.rows.max + j * kLanes, max);
    store(a.rows.factor + j * kLanes, factor);
    store(a.rows.sum + j * kLanes,
          load<V>(a.rows.sum + j * kLanes) * factor + ((sum[0] + sum[1]) + (sum[2] + sum[3])));
  }

  template <class Put>
  TW_INLINE static void raise_into(const RaiseArgs<T>& a) {
    for (int64 j = 0; j < a.tile.vectors; ++j) {
      if (a.keep)
        raise_lanes<Put, true>(a, j);
      else
        raise_lanes<Put, false>(a, j);
    }
  }

  static void raise(const RaiseArgs<T>& a) { raise_into<Whole>(a); }

  // Adds weights * values to the sums of the vectors from `first` on, for the elements (keys, or
  // pairs of keys) from `done` on. The vectors before `first` see none of these.
  template <class Elements, int vectors, int first, int rows>
  TW_INLINE static void add_values(Block<V, rows, vectors>& block, int64 done, const T* panel,
                                   ScoreTile<T> tile) {
    const int64 end = elements<Elements>(tile.keys_of(first));
    block.template add<Elements, first>(Operand<T>{panel + done * kPanel, 1, kPanel},
                                        tile.data + done * kPitch, kPitch, end - done);
    if constexpr (first + 1 < vectors) {
      if (tile.ends) add_values<Elements, vectors, first + 1>(block, end, panel, tile);
    }
  }

  template <class Elements, int vectors>
  TW_INLINE static void accumulate_in(const AccumulateArgs<T>& a) {
    constexpr int kRows = kBlockRows<Isa, vectors>;
    V factor[vectors];
    TW_UNROLL for (int j = 0; j < vectors; ++j) factor[j] = load<V>(a.factor + j * kLanes);
    for (int64 c = 0; c < a.dim; c += kRows) {
      Block<V, kRows, vectors> block;
      const T* panel =
          a.value + (c / kPanel * a.panel_keys + a.first) / Elements::kPacked * kPanel + c % kPanel;
      block.clear();
      add_values<Elements, vectors, 0>(block, 0, panel, a.tile);
      block.gather(a.output + c * kPitch, kPitch, factor);
    }
  }

  // output = output * factor + value^T . weights. The tile's sum is made separately, then added.
  template <class Elements>
  static void accumulate(const AccumulateArgs<T>& a) {
    with_vectors<kVectors>(a.tile.vectors, [&]<int vectors>() TW_INLINE_LAMBDA {
      accumulate_in<Elements, vectors>(a);
    });
  }
};

}  // namespace tilewise::cpu
