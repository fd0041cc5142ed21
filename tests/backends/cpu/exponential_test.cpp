// 2^x and tanh of each instruction set against long double.
#include <cmath>
#include <limits>
#include <random>

#include "every_isa.h"

namespace tilewise::cpu {
namespace {

template <class T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T kInfinite = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kSmallestNormal = std::numeric_limits<T>::min();

// The distance between numbers of type T around x.
template <class T>
long double unit(long double x) {
  constexpr int kDigits = std::numeric_limits<T>::digits;
  const int exponent = x == 0 ? -100000 : std::ilogb(x);
  const int least = std::numeric_limits<T>::min_exponent - 1;
  return std::ldexp(1.0L, (exponent < least ? least : exponent) - kDigits + 1);
}

// Numbers from `low` to `high`: evenly spread, spread by magnitude, and around steps of 1/16.
template <class T>
std::vector<T> numbers_between(T low, T high, std::size_t count) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<T> even(low, high);
  std::uniform_real_distribution<T> exponent(-40, 10);
  std::vector<T> numbers;
  while (numbers.size() < count) {
    numbers.push_back(even(random));
    const T size = std::exp2(exponent(random)) * (random() % 2 ? T(1) : T(-1));
    const T whole = std::round(even(random) * 16) / 16;
    for (const T x : {size, whole, std::nextafter(whole, low), std::nextafter(whole, high)})
      if (low <= x && x <= high) numbers.push_back(x);
  }
  return numbers;
}

// body(tile) on tiles that hold the numbers in turn.
template <class T, class Body>
std::vector<T> through_tiles(const Kernels<T>& kernels, std::vector<T> numbers, const Body& body) {
  constexpr int64 kKeys = 127;
  const auto count = numbers.size(), tile = static_cast<std::size_t>(kKeys * kernels.pitch);
  numbers.resize((count + tile - 1) / tile * tile, T(-1));
  for (std::size_t n = 0; n < numbers.size(); n += tile)
    body(ScoreTile<T>{numbers.data() + n, kKeys, kernels.pitch / kernels.lanes});
  numbers.resize(count);
  return numbers;
}

template <class T>
std::vector<T> weights(const Kernels<T>& kernels, const std::vector<T>& scores) {
  const std::vector<T> max(static_cast<std::size_t>(kernels.pitch), T(0));
  const std::vector<T> one(static_cast<std::size_t>(kernels.pitch), T(1));
  return through_tiles(kernels, scores, [&](ScoreTile<T> tile) {
    kernels.backward.weigh({tile, max.data(), one.data(), one.data()});
  });
}

template <class T>
std::vector<T> raised(const Kernels<T>& kernels, const std::vector<T>& scores) {
  const auto lanes = static_cast<std::size_t>(kernels.pitch);
  const std::vector<T> largest(lanes, T(0)), unit(lanes, T(1));
  return through_tiles(kernels, scores, [&](ScoreTile<T> tile) {
    std::vector<T> max(lanes, -kInfinite<T>), sum(lanes), factor(lanes);
    kernels.forward.raise(
        {tile, largest.data(), unit.data(), {max.data(), sum.data(), factor.data()}});
  });
}

// The largest error in units of the last place, over those whose true value `counts`.
template <class T, class True, class Counts>
long double largest_error(const std::vector<T>& at, const std::vector<T>& got, const True& truth,
                          const Counts& counts) {
  long double largest = 0;
  for (std::size_t n = 0; n < at.size(); ++n) {
    const long double want = truth(static_cast<long double>(at[n]));
    if (!counts(want)) continue;
    const long double error = std::fabs(static_cast<long double>(got[n]) - want) / unit<T>(want);
    largest = error > largest || std::isnan(error) ? error : largest;
  }
  return largest;
}

long double power(long double x) {
  return std::exp2(x);
}

class Exponential : public EveryIsa {};
TW_ON_EVERY_ISA(Exponential);

TEST_P(Exponential, IsGradualWhereItIsAWeightOfBackward) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    constexpr T kLeast = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits - 10;
    constexpr T kMost = std::numeric_limits<T>::max_exponent - 1;
    const std::vector<T> at = numbers_between<T>(kLeast, kMost, 400000);
    const auto all = [](long double) { return true; };
    EXPECT_LE(largest_error(at, weights(kernels, at), power, all), 2.0L) << sizeof(T);
  });
}

TEST_P(Exponential, IsExactToTwoUnitsInForwardDownToTheNormalNumbers) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    constexpr T kLeast = std::numeric_limits<T>::min_exponent - 30;
    const std::vector<T> at = numbers_between<T>(kLeast, T(0), 400000);
    const std::vector<T> got = raised(kernels, at);
    const auto is_normal = [](long double x) { return x >= kSmallestNormal<T>; };
    EXPECT_LE(largest_error(at, got, power, is_normal), 2.0L) << sizeof(T);
    for (std::size_t n = 0; n < at.size(); ++n) {
      if (is_normal(power(at[n]))) continue;
      ASSERT_GE(got[n], T(0)) << at[n];
      ASSERT_LE(got[n], kSmallestNormal<T>) << at[n];
    }
  });
}

TEST_P(Exponential, KnowsInfinitiesAndNan) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    // A NaN with its last bits set, from which the kernels read the exponent of a result.
    const T large_nan = sizeof(T) == 4 ? T(std::nanf("0xff")) : T(std::nan("0x7ff"));
    // At every place of a tile, because the last keys of a tile may take another path.
    const auto all = [&](T x) {
      return std::vector<T>(static_cast<std::size_t>(127 * kernels.pitch), x);
    };
    for (const auto& [x, want] : {std::pair<T, T>{-kInfinite<T>, T(0)},
                                  {std::numeric_limits<T>::lowest(), T(0)},
                                  {T(0), T(1)},
                                  {-T(0), T(1)}}) {
      EXPECT_EQ(weights(kernels, all(x)), all(want)) << x;
      EXPECT_EQ(raised(kernels, all(x)), all(want)) << x;
    }
    std::vector<T> far;
    for (int power = 12; power < std::numeric_limits<T>::max_exponent; ++power)
      for (const T share : {T(1), T(1.1), T(1.999)}) far.push_back(-std::ldexp(share, power));
    EXPECT_EQ(weights(kernels, far), std::vector<T>(far.size()));
    EXPECT_EQ(raised(kernels, far), std::vector<T>(far.size()));
    for (const T nan : {kNan<T>, -kNan<T>, large_nan})
      for (const auto& got : {weights(kernels, all(nan)), raised(kernels, all(nan))})
        for (const T x : got) ASSERT_TRUE(std::isnan(x));
    // An infinite exponent, which only an lse of other scores can give, gives no finite weight.
    EXPECT_FALSE(std::isfinite(weights(kernels, {kInfinite<T>})[0]));
  });
}

// A lane that has seen nothing keeps -inf and 0; a NaN among its scores wins.
TEST_P(Exponential, RaisesRunningRows) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    const auto lanes = static_cast<std::size_t>(kernels.pitch);
    constexpr int64 kKeys = 5;
    std::vector<T> scores(lanes * kKeys, -kInfinite<T>), largest(lanes, -kInfinite<T>);
    std::vector<T> max(lanes, -kInfinite<T>), sum(lanes), factor(lanes);
    const std::vector<T> unit(lanes, T(1));
    for (std::size_t key = 0; key < kKeys; ++key) scores[key * lanes + 1] = T(key);
    largest[1] = T(kKeys - 1);
    scores[2] = kNan<T>;
    max[3] = T(2);
    sum[3] = T(3);
    kernels.forward.raise({{scores.data(), kKeys, kernels.pitch / kernels.lanes},
                           largest.data(),
                           unit.data(),
                           {max.data(), sum.data(), factor.data()}});
    EXPECT_EQ(max[0], -kInfinite<T>);
    EXPECT_EQ(sum[0], T(0));
    EXPECT_FALSE(std::isnan(factor[0]));
    EXPECT_EQ(max[1], T(4));
    EXPECT_NEAR(static_cast<double>(sum[1]), 1 + 0.5 + 0.25 + 0.125 + 0.0625, 1e-6);
    EXPECT_TRUE(std::isnan(sum[2]));
    EXPECT_EQ(max[3], T(2));
    EXPECT_EQ(sum[3], T(3));
    EXPECT_EQ(factor[3], T(1));
  });
}

// A lane's tile may have more keys than the lane sees, because other lanes see them.
TEST_P(Exponential, HiddenKeysBehindTheLastChangeNoBit) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    const auto lanes = static_cast<std::size_t>(kernels.pitch);
    constexpr std::size_t kMost = 13;
    const std::vector<T> unit(lanes, T(1)), largest(lanes, T(0));
    const auto sum_of = [&](std::size_t seen, std::size_t keys) {
      std::vector<T> scores(lanes * kMost, -kInfinite<T>), max(lanes, -kInfinite<T>);
      std::vector<T> sum(lanes), factor(lanes);
      for (std::size_t n = 0; n < lanes * seen; ++n) scores[n] = -std::sqrt(T(n % 101));
      kernels.forward.raise(
          {{scores.data(), static_cast<int64>(keys), kernels.pitch / kernels.lanes},
           largest.data(),
           unit.data(),
           {max.data(), sum.data(), factor.data()}});
      return sum;
    };
    for (std::size_t seen = 1; seen < kMost; ++seen)
      for (std::size_t keys = seen; keys <= kMost; ++keys)
        ASSERT_EQ(sum_of(seen, keys), sum_of(seen, seen)) << seen << " of " << keys;
  });
}

// With a cap of 1 softcap is tanh. map returns it in units of log2, as all scores.
TEST_P(Exponential, TanhKeepsItsDigitsNearZero) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    const auto lanes = static_cast<std::size_t>(kernels.pitch);
    const std::vector<T> begin(lanes, T(0)), end(lanes, T(1000));
    std::vector<T> largest(lanes), softcap_derivative(lanes * 127), unit(lanes);
    const std::vector<T> at = numbers_between<T>(T(-30), T(30), 300000);
    const auto got = through_tiles(kernels, at, [&](ScoreTile<T> tile) {
      kernels.forward.map({tile,
                           {begin.data(), end.data(), nullptr},
                           T(1),
                           T(1),
                           nullptr,
                           nullptr,
                           softcap_derivative.data(),
                           largest.data(),
                           T(0),
                           unit.data()});
    });
    const auto truth = [](long double x) { return std::tanh(x) * core::log2e<long double>(); };
    const auto all = [](long double) { return true; };
    EXPECT_LE(largest_error(at, got, truth, all), 6.0L) << sizeof(T);
  });
}

}  // namespace
}  // namespace tilewise::cpu
