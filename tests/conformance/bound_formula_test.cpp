// The formulas of docs/numerics.md written a second time, element by element and with all features
// at once. A bound that has become wider somewhere disagrees with this second writing.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "conformance/gradient_bound.h"
#include "conformance/number.h"
#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

using oracle::Tensor;

constexpr std::int64_t kQueries = 6, kKeys = 9, kHeads = 4, kKeyHeads = 2, kDim = 5, kValueDim = 3;

Tensor gauss(const std::vector<std::int64_t>& shape, oracle::Random& random) {
  Tensor tensor(shape);
  for (double& each : tensor.values) each = random.normal();
  return tensor;
}

class Page {
 public:
  Page(tw_dtype input, tw_dtype output, double weight_floor)
      : u_p(unit_roundoff(input)),
        u_o(unit_roundoff(output)),
        f_p(weight_floor),
        f_o(floor_of(output)),
        flushed(input == TW_FLOAT64 ? 0x1p-1022 : 0x1p-126),
        u(input == TW_FLOAT64 ? 0x1p-52 : 0x1p-24) {
    oracle::Random random(3);
    problem.query = gauss({kQueries, kHeads, kDim}, random);
    problem.key = gauss({kKeys, kKeyHeads, kDim}, random);
    problem.value = gauss({kKeys, kKeyHeads, kValueDim}, random);
    problem.scale = -0.7;
    problem.softcap = 1.5;
    problem.slopes = {0.1, 0.2, 0.3, 0.4};
    problem.sinks = {0.5, -1, 2, 0.25};
    problem.bias = gauss({kHeads, kQueries, kKeys}, random);
    problem.band.right = 1;
    problem.dropout = oracle::Dropout{.probability = 0.3, .seed = 5, .offset = 1};
    arriving = {gauss({kQueries, kHeads, kValueDim}, random), gauss({kHeads, kQueries}, random)};
    result = oracle::forward(problem);
    gradients = oracle::backward(problem, result, arriving);
  }

  double eta(std::int64_t dim) const { return (4 + 2 * std::sqrt(dim)) * u; }
  double sigma(std::int64_t count) const { return 4 * u * std::sqrt(count); }
  bool sees(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return oracle::is_visible(problem, h, i, j);
  }
  double p(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return result.weights.at(h, i, j);
  }
  double m(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return oracle::score(problem, h, i, j).magnitude;
  }
  double keep(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return oracle::keep_factor(problem.dropout, h, i, j);
  }
  double v(std::int64_t h, std::int64_t i, std::int64_t j, std::int64_t d) const {
    return keep(h, i, j) * problem.value.at(j, problem.key_head(h), d);
  }
  double arrives(std::int64_t h, std::int64_t i, std::int64_t d) const {
    return arriving.output.at(i, h, d);
  }
  double at_p(std::int64_t h, std::int64_t i, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t d = 0; d < kValueDim; ++d) sum += arrives(h, i, d) * v(h, i, j, d);
    return sum;
  }
  double size_at_p(std::int64_t h, std::int64_t i, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t d = 0; d < kValueDim; ++d) sum += std::fabs(arrives(h, i, d) * v(h, i, j, d));
    return sum;
  }
  // Sums body(j) over the keys that the row sees.
  template <class Body>
  double over_keys(std::int64_t h, std::int64_t i, const Body& body) const {
    double sum = 0;
    for (std::int64_t j = 0; j < kKeys; ++j) sum += sees(h, i, j) ? body(j) : 0;
    return sum;
  }
  std::int64_t count(std::int64_t h, std::int64_t i) const {
    return static_cast<std::int64_t>(over_keys(h, i, [](std::int64_t) { return 1; }));
  }
  double sink(std::int64_t h) const {
    return std::fabs(problem.sinks[static_cast<std::size_t>(h)]);
  }
  double p_sink(std::int64_t h, std::int64_t i) const {
    return std::exp(problem.sinks[static_cast<std::size_t>(h)] - result.lse.at(h, i));
  }
  double l(std::int64_t h, std::int64_t i) const {
    return over_keys(h, i, [&](auto j) { return std::fabs(result.probabilities.at(h, i, j)); });
  }

  double output(std::int64_t h, std::int64_t i, std::int64_t d) const {
    const double o = result.output.at(i, h, d);
    return (u_p + sigma(count(h, i))) *
               over_keys(h, i, [&](auto j) { return p(h, i, j) * std::fabs(v(h, i, j, d)); }) +
           eta(kDim) * (over_keys(h, i,
                                  [&](auto j) {
                                    return p(h, i, j) * m(h, i, j) * std::fabs(v(h, i, j, d) - o);
                                  }) +
                        p_sink(h, i) * sink(h) * std::fabs(o)) +
           f_p * over_keys(h, i, [&](auto j) { return std::fabs(v(h, i, j, d)); }) / l(h, i);
  }
  double lse(std::int64_t h, std::int64_t i) const {
    return eta(kDim) * (over_keys(h, i, [&](auto j) { return p(h, i, j) * m(h, i, j); }) +
                        p_sink(h, i) * sink(h)) +
           sigma(count(h, i)) + 4 * u * std::fabs(result.lse.at(h, i));
  }
  double probability(std::int64_t h, std::int64_t i, std::int64_t j) const {
    double largest = 0;
    for (std::int64_t n = 0; n < kKeys; ++n) {
      if (sees(h, i, n)) largest = std::max(largest, m(h, i, n));
    }
    return std::fabs(result.probabilities.at(h, i, j)) *
           (std::expm1(eta(kDim) * (m(h, i, j) + largest)) + 4 * u);
  }

  double delta(std::int64_t h, std::int64_t i) const {
    double sum = -arriving.lse.at(h, i);
    for (std::int64_t d = 0; d < kValueDim; ++d)
      sum += arrives(h, i, d) * result.output.at(i, h, d);
    return sum;
  }
  double delta_error(std::int64_t h, std::int64_t i) const {
    double t = 0, size = 0, arriving_size = 0;
    for (std::int64_t d = 0; d < kValueDim; ++d) {
      t += arrives(h, i, d) * result.output.at(i, h, d);
      size += std::fabs(arrives(h, i, d) * result.output.at(i, h, d));
      arriving_size += std::fabs(arrives(h, i, d));
    }
    const auto sum = [&](const auto& body) { return over_keys(h, i, body); };
    return eta(kDim) * (sum([&](auto j) {
                          return p(h, i, j) * m(h, i, j) * std::fabs(at_p(h, i, j) - t);
                        }) +
                        p_sink(h, i) * sink(h) * std::fabs(t)) +
           (u_p + sigma(count(h, i))) *
               sum([&](auto j) { return p(h, i, j) * size_at_p(h, i, j); }) +
           (u_o + eta(kValueDim)) * size + 2 * u * std::fabs(arriving.lse.at(h, i)) +
           f_p * sum([&](auto j) { return size_at_p(h, i, j); }) / l(h, i) + f_o * arriving_size;
  }
  double w(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return std::expm1(eta(kDim) * m(h, i, j) + lse(h, i));
  }
  double at_score(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return p(h, i, j) * (at_p(h, i, j) - delta(h, i));
  }
  // Of the bias's gradient; the other gradients have to do with the next one.
  double bias_error(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const double rest = at_p(h, i, j) - delta(h, i);
    return p(h, i, j) *
               (w(h, i, j) * std::fabs(rest) + eta(kValueDim) * size_at_p(h, i, j) +
                delta_error(h, i) + 2 * u * (std::fabs(at_p(h, i, j)) + std::fabs(delta(h, i)))) +
           2 * u * std::fabs(at_score(h, i, j));
  }
  double score_error(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return bias_error(h, i, j) + flushed * std::fabs(at_p(h, i, j) - delta(h, i));
  }
  // Softcap's derivative, and its error.
  double slope(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return oracle::score(problem, h, i, j).derivative / *problem.scale;
  }
  double slope_error(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const double off = eta(kDim) * m(h, i, j) / problem.softcap;
    const double tanh = std::sqrt(std::fabs(1 - slope(h, i, j)));
    return 2 * tanh * (slope(h, i, j) * off + 4 * u) + off * off + 4 * u;
  }
  // The score's gradient as it multiplies query and key, and its error.
  double product(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return std::fabs(*problem.scale * slope(h, i, j) * at_score(h, i, j));
  }
  double product_error(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const double off_score = score_error(h, i, j), off_slope = slope_error(h, i, j);
    return std::fabs(*problem.scale) *
               (slope(h, i, j) * off_score + std::fabs(at_score(h, i, j)) * off_slope +
                off_score * off_slope + f_p) +
           u_p * product(h, i, j);
  }

  double u_p, u_o, f_p, f_o, flushed, u;
  oracle::Attention problem;
  oracle::Arriving arriving;
  oracle::Result result;
  oracle::Gradients gradients;
};

struct Types {
  tw_dtype input, output;
  double weight_floor;
};
constexpr Types kTypes[] = {
    {TW_FLOAT32, TW_FLOAT32, 0x1p-126},        {TW_BFLOAT16, TW_FLOAT32, 0x1p-126},
    {TW_FLOAT16, TW_BFLOAT16, 0x1p-25},        {TW_FLOAT8_E4M3, TW_FLOAT16, 0x1p-18},
    {TW_FLOAT8_E5M2, TW_FLOAT8_E5M2, 0x1p-32}, {TW_FLOAT64, TW_FLOAT64, 0x1p-1022}};

void expect_same(double got, double want, const char* what) {
  ASSERT_GT(want, 0) << what;
  ASSERT_NEAR(got / want, 1, 1e-7) << what;
}

// Calls body(h, i) for every row of every head.
template <class Body>
void for_each_row(const Body& body) {
  for (std::int64_t h = 0; h < kHeads; ++h) {
    for (std::int64_t i = 0; i < kQueries; ++i) body(h, i);
  }
}

TEST(BoundFormula, ForwardIsWhatThePageSays) {
  for (const Types& types : kTypes) {
    const Page page(types.input, types.output, types.weight_floor);
    const ForwardBound bound =
        bound_forward(page.problem, page.result, precision_of(types.input, types.output));
    for_each_row([&](std::int64_t h, std::int64_t i) {
      expect_same(bound.lse.at(h, i), page.lse(h, i), "lse");
      for (std::int64_t d = 0; d < kValueDim; ++d) {
        expect_same(bound.output.at(i, h, d), page.output(h, i, d), "output");
      }
      for (std::int64_t j = 0; j < kKeys; ++j) {
        if (!page.sees(h, i, j)) continue;
        expect_same(bound.probabilities.at(h, i, j), page.probability(h, i, j), "probability");
      }
    });
  }
}

TEST(BoundFormula, ScoresAndReducedGradientsAreWhatThePageSays) {
  for (const Types& types : kTypes) {
    const Page page(types.input, types.output, types.weight_floor);
    const GradientBound bound =
        bound_gradients(page.problem, page.result, page.gradients, page.arriving,
                        precision_of(types.input, types.output));
    std::vector<ErrorSum> slopes(kHeads), sinks(kHeads);
    for_each_row([&](std::int64_t h, std::int64_t i) {
      const auto head = static_cast<std::size_t>(h);
      const double off = std::expm1(4 * page.u * page.sink(h) + page.lse(h, i));
      sinks[head].add(
          page.p_sink(h, i) * (off * std::fabs(page.delta(h, i)) + page.delta_error(h, i)),
          page.p_sink(h, i) * page.delta(h, i));
      for (std::int64_t j = 0; j < kKeys; ++j) {
        if (!page.sees(h, i, j)) continue;
        expect_same(bound.score.at(h, i, j), page.bias_error(h, i, j), "score");
        const auto away = static_cast<double>(std::abs(i + kKeys - kQueries - j));
        slopes[head].add(away * page.score_error(h, i, j), away * page.at_score(h, i, j));
      }
    });
    const Precision precision = precision_of(types.input, types.output);
    for (std::size_t h = 0; h < kHeads; ++h) {
      const auto total = [&](const ErrorSum& sum) {
        return sum.error + page.sigma(sum.count) * sum.magnitude;
      };
      expect_same(bound.slopes[h].bound(precision), total(slopes[h]), "slopes");
      expect_same(bound.sinks[h].bound(precision), total(sinks[h]), "sinks");
    }
  }
}

TEST(BoundFormula, GradientsAreWhatThePageSays) {
  for (const Types& types : kTypes) {
    const Page page(types.input, types.output, types.weight_floor);
    const GradientBound bound =
        bound_gradients(page.problem, page.result, page.gradients, page.arriving,
                        precision_of(types.input, types.output));
    std::vector<ErrorSum> query(bound.query.values.size()), key(bound.key.values.size()),
        value(bound.value.values.size());
    const auto at = [](std::vector<ErrorSum>& sums, std::int64_t row, std::int64_t column) {
      return sums.data() + row * column;
    };
    for_each_row([&](std::int64_t h, std::int64_t i) {
      const std::int64_t key_head = page.problem.key_head(h);
      for (std::int64_t j = 0; j < kKeys; ++j) {
        if (!page.sees(h, i, j)) continue;
        const double size = page.product(h, i, j), off = page.product_error(h, i, j);
        for (std::int64_t d = 0; d < kDim; ++d) {
          const double q = std::fabs(page.problem.query.at(i, h, d));
          const double k = std::fabs(page.problem.key.at(j, key_head, d));
          at(query, i * kHeads + h, kDim)[d].add(off * k, size * k);
          at(key, j * kKeyHeads + key_head, kDim)[d].add(off * q, size * q);
        }
        const double factor = page.keep(h, i, j), weight = page.p(h, i, j) * factor;
        for (std::int64_t d = 0; d < kValueDim && factor > 0; ++d) {
          const double arrives = std::fabs(page.arrives(h, i, d));
          const double wrong =
              weight * (page.w(h, i, j) + page.u_p + 2 * page.u) + page.f_p * factor;
          at(value, j * kKeyHeads + key_head, kValueDim)[d].add(wrong * arrives, weight * arrives);
        }
      }
    });
    const auto compare = [&](const Tensor& got, const std::vector<ErrorSum>& sums,
                             const char* what) {
      for (std::size_t n = 0; n < sums.size(); ++n) {
        if (sums[n].count == 0) {
          ASSERT_EQ(got.values[n], 0) << what;
          continue;
        }
        expect_same(got.values[n], sums[n].error + page.sigma(sums[n].count) * sums[n].magnitude,
                    what);
      }
    };
    compare(bound.query, query, "query");
    compare(bound.key, key, "key");
    compare(bound.value, value, "value");
  }
}

TEST(BoundFormula, StoringAddsOneRounding) {
  EXPECT_EQ(rounding_of(TW_FLOAT32, -3), 3 * 0x1p-24);
  EXPECT_EQ(rounding_of(TW_BFLOAT16, 3), 3 * 0x1p-8);
  EXPECT_EQ(rounding_of(TW_FLOAT16, 1e-6), 0x1p-25);
  EXPECT_EQ(rounding_of(TW_FLOAT16, 4), 4 * 0x1p-11);
  EXPECT_EQ(rounding_of(TW_FLOAT8_E4M3, 1), 0x1p-4);
  EXPECT_EQ(rounding_of(TW_FLOAT8_E4M3, 0x1p-9), 0x1p-10);
  EXPECT_EQ(rounding_of(TW_FLOAT8_E5M2, 1), 0x1p-3);
  EXPECT_EQ(rounding_of(TW_FLOAT8_E5M2, 0x1p-16), 0x1p-17);
  EXPECT_EQ(rounding_of(TW_FLOAT64, 1), 0x1p-53);
  EXPECT_EQ(rounding_of(TW_FLOAT64, 0), 0);
}

}  // namespace
}  // namespace tilewise::conformance
