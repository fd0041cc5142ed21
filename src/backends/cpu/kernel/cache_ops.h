// Kernels that rotate, convert or add up rows, for rotary, append and merge. They compute in double
// and round once, to the type of the result.
#pragma once

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/convert.h"

namespace tilewise::cpu {

template <class Isa>
struct CacheOps {
  static constexpr int kLanes = Isa::kBytes / static_cast<int>(sizeof(double));
  using V = typename VectorOf<double, Isa::kBytes>::Type;
  using I = typename VectorOf<int64, Isa::kBytes>::Type;
  // A vector with as many floats as V has doubles.
  using F = typename VectorOf<float, Isa::kBytes / 2>::Type;
  using B = typename VectorOf<uint32, Isa::kBytes / 2>::Type;

  // Numbers handled at a time: whole vectors on every instruction set.
  static constexpr int64 kChunk = 64;
  static_assert(kChunk % kLanes == 0);

  TW_INLINE static Numbers skip(Numbers numbers, int64 count) {
    return {numbers.at + count * core::bytes_of(numbers.dtype), numbers.dtype};
  }

  // Writes zeros behind `count` numbers, up to whole vectors.
  template <class T>
  TW_INLINE static void pad(int64 count, T* numbers) {
    for (int64 i = count; i % kLanes != 0; ++i) numbers[i] = 0;
  }

  template <DType dtype>
  TW_INLINE static void read_narrow(const void* from, int64 count, double* to) {
    alignas(64) float numbers[kChunk];
    const float* at = numbers;
    if (dtype == DType::kFloat32 && count % kLanes == 0) {
      at = static_cast<const float*>(from);
    } else {
      Elements<Isa, dtype>::read(from, count, 1.0f, numbers);
      pad(count, numbers);
    }
    for (int64 i = 0; i < count; i += kLanes)
      store(to + i, __builtin_convertvector(load<F>(at + i), V));
  }

  // Reads up to kChunk numbers as double. Zeros fill the last vector of `to`.
  [[gnu::noinline]] static void read(Numbers from, int64 count, double* to) {
    switch (from.dtype) {
      case DType::kFloat64:
        __builtin_memcpy(to, from.at, static_cast<unsigned long>(count) * sizeof(double));
        return pad(count, to);
      case DType::kFloat32:
        return read_narrow<DType::kFloat32>(from.at, count, to);
      case DType::kBFloat16:
        return read_narrow<DType::kBFloat16>(from.at, count, to);
      case DType::kFloat16:
        return read_narrow<DType::kFloat16>(from.at, count, to);
      case DType::kFloat8E4M3:
        return read_narrow<DType::kFloat8E4M3>(from.at, count, to);
      default:
        return read_narrow<DType::kFloat8E5M2>(from.at, count, to);
    }
  }

  // Rounds to odd, to a float that will be rounded again: an inexact result takes the neighbour
  // whose last bit is 1, so that the second rounding sees no false tie. In the bits of a double:
  // cut off those that a float has no room for, and set the last bit left if any of them was 1.
  TW_INLINE static F to_odd(V x) {
    constexpr int64 kBeyond = (int64{1} << 29) - 1;
    const I code = bits<I>(x);
    return __builtin_convertvector(bits<V>((code | ((code & kBeyond) + kBeyond)) & ~kBeyond), F);
  }

  // to_odd() for results that are subnormal floats, which have room for fewer bits.
  TW_INLINE static F to_odd_subnormal(V x) {
    const F nearest = __builtin_convertvector(x, F);
    const V back = __builtin_convertvector(nearest, V);
    const B code = bits<B>(nearest);
    const I beyond = absolute(back) > absolute(x), short_of = absolute(back) < absolute(x);
    const B down = __builtin_convertvector(beyond, B), up = __builtin_convertvector(short_of, B);
    // `down` and `up` are -1 where true. A code that is odd already stays.
    const B even = (code & 1) - 1;
    return bits<F>(code + (down & even) - (up & even));
  }

  template <DType dtype>
  TW_INLINE static void write_narrow(const double* from, int64 count, void* to) {
    alignas(64) float numbers[kChunk];
    I is_subnormal = {};
    for (int64 i = 0; i < count; i += kLanes) {
      const V x = load<V>(from + i);
      if constexpr (dtype == DType::kFloat32) {
        store(numbers + i, __builtin_convertvector(x, F));
      } else {
        is_subnormal |= (absolute(x) < all<V>(0x1p-126)) & (x != V{});
        store(numbers + i, to_odd(x));
      }
    }
    // Only bfloat16 can hold subnormal floats; in float16 they round to 0.
    if (dtype == DType::kBFloat16 && any(is_subnormal)) {
      for (int64 i = 0; i < count; i += kLanes)
        store(numbers + i, to_odd_subnormal(load<V>(from + i)));
    }
    Elements<Isa, dtype>::write(to, count, 1.0f, numbers);
  }

  // Writes up to kChunk numbers, rounded once, from whole vectors.
  [[gnu::noinline]] static void put(const double* from, int64 count, Numbers to) {
    switch (to.dtype) {
      case DType::kFloat64:
        __builtin_memcpy(to.at, from, static_cast<unsigned long>(count) * sizeof(double));
        return;
      case DType::kFloat32:
        return write_narrow<DType::kFloat32>(from, count, to.at);
      case DType::kBFloat16:
        return write_narrow<DType::kBFloat16>(from, count, to.at);
      default:
        return write_narrow<DType::kFloat16>(from, count, to.at);
    }
  }

  TW_INLINE static int64 chunk(int64 begin, int64 end) {
    return end - begin < kChunk ? end - begin : kChunk;
  }

  // The cosines and sines of pairs begin .. begin + count - 1.
  struct Angles {
    alignas(64) double cosine[kChunk], sine[kChunk];
    int64 begin, count;
  };

  TW_INLINE static void rotate_halves(const RotateArgs& a, const Angles& angles, Numbers from,
                                      Numbers to) {
    alignas(64) double x[kChunk], y[kChunk];
    read(skip(from, angles.begin), angles.count, x);
    read(skip(from, angles.begin + a.pairs), angles.count, y);
    for (int64 i = 0; i < angles.count; i += kLanes) {
      const V first = load<V>(x + i), second = load<V>(y + i);
      const V cosine = load<V>(angles.cosine + i), sine = load<V>(angles.sine + i);
      store(x + i, first * cosine - second * sine);
      store(y + i, first * sine + second * cosine);
    }
    put(x, angles.count, skip(to, angles.begin));
    put(y, angles.count, skip(to, angles.begin + a.pairs));
  }

  TW_INLINE static void rotate_neighbours(const Angles& angles, Numbers from, Numbers to) {
    alignas(64) double pairs[2 * kChunk];
    const int64 half = 2 * angles.count < kChunk ? 2 * angles.count : kChunk;
    const int64 rest = 2 * angles.count - half;
    read(skip(from, 2 * angles.begin), half, pairs);
    if (rest > 0) read(skip(from, 2 * angles.begin + half), rest, pairs + half);
    for (int64 i = 0; i < angles.count; ++i) {
      const double x = pairs[2 * i], y = pairs[2 * i + 1];
      pairs[2 * i] = x * angles.cosine[i] - y * angles.sine[i];
      pairs[2 * i + 1] = x * angles.sine[i] + y * angles.cosine[i];
    }
    put(pairs, half, skip(to, 2 * angles.begin));
    if (rest > 0) put(pairs + half, rest, skip(to, 2 * angles.begin + half));
  }

  static void rotate(const RotateArgs& a) {
    Angles angles;
    for (angles.begin = 0; angles.begin < a.pairs; angles.begin += kChunk) {
      angles.count = chunk(angles.begin, a.pairs);
      read(skip(a.cosine, angles.begin), angles.count, angles.cosine);
      read(skip(a.sine, angles.begin), angles.count, angles.sine);
      for (int64 i = 0; i < angles.count && a.inverse; ++i) angles.sine[i] = -angles.sine[i];
      for (int64 h = 0; h < a.heads; ++h) {
        const Numbers from{a.from.at + h * a.from_next, a.from.dtype};
        const Numbers to{a.to.at + h * a.to_next, a.to.dtype};
        if (a.interleaved)
          rotate_neighbours(angles, from, to);
        else
          rotate_halves(a, angles, from, to);
      }
    }
  }

  static void convert(Numbers from, Numbers to, int64 count) {
    alignas(64) double numbers[kChunk];
    for (int64 c = 0; c < count; c += kChunk) {
      read(skip(from, c), chunk(c, count), numbers);
      put(numbers, chunk(c, count), skip(to, c));
    }
  }

  // sum += weight * from, where `sum` has room for whole vectors.
  static void add_weighted(Numbers from, double weight, int64 count, double* sum) {
    alignas(64) double numbers[kChunk];
    for (int64 c = 0; c < count; c += kChunk) {
      const int64 here = chunk(c, count);
      read(skip(from, c), here, numbers);
      for (int64 i = 0; i < here; i += kLanes)
        store(sum + c + i, load<V>(sum + c + i) + all<V>(weight) * load<V>(numbers + i));
    }
  }

  // Writes `count` numbers of `from`, which has whole vectors.
  static void write(const double* from, Numbers to, int64 count) {
    for (int64 c = 0; c < count; c += kChunk) put(from + c, chunk(c, count), skip(to, c));
  }
};

}  // namespace tilewise::cpu
