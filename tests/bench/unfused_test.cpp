// The peer made of matrix products computes attention. A wrong one would be easy to beat.
#include "bench/unfused.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

#include "bench/softmax_rows.h"

namespace tilewise::cli {
namespace {

void multiply_plainly(const Product& product) {
  const auto at = [](const Product::Operand& operand, std::int64_t row, std::int64_t column) {
    const std::int64_t place =
        operand.is_transposed ? column * operand.stride + row : row * operand.stride + column;
    return double{operand.data[place]};
  };
  for (std::int64_t i = 0; i < product.c.rows; ++i) {
    for (std::int64_t j = 0; j < product.c.columns; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < product.inner; ++k)
        sum += at(product.a, i, k) * at(product.b, k, j);
      float& to = product.c.data[i * product.c.stride + j];
      const double before = product.beta == 0 ? 0 : double{product.beta} * double{to};
      to = static_cast<float>(before + double{product.alpha} * sum);
    }
  }
}

// The results from the formulas, in double.
struct Expected {
  std::vector<double> output, query_gradient, key_gradient, value_gradient;
};

Expected expected(const PeerCase& wanted, const Unfused::Tensors& given) {
  const Sizes& sizes = wanted.shape->sizes;
  const std::int64_t dim = sizes.dim, value_dim = sizes.value_dim;
  Expected result{std::vector<double>(given.output.size()),
                  std::vector<double>(given.query_gradient.size()),
                  std::vector<double>(given.key_gradient.size()),
                  std::vector<double>(given.value_gradient.size())};
  const auto dot = [](const float* a, const float* b, std::int64_t count) {
    double sum = 0;
    for (std::int64_t k = 0; k < count; ++k) sum += double{a[k]} * double{b[k]};
    return sum;
  };
  const double scale = 1 / std::sqrt(static_cast<double>(dim));
  for (std::int64_t row = 0; row < sizes.batch * sizes.heads * sizes.queries; ++row) {
    const std::int64_t head = row / sizes.queries, i = row % sizes.queries;
    const std::int64_t key_row = head / (sizes.heads / sizes.key_heads) * sizes.keys;
    const std::int64_t seen = wanted.is_causal ? i + 1 : sizes.keys;
    const float* query = given.query.data() + row * dim;
    std::vector<double> part(static_cast<std::size_t>(seen));
    double sum = 0;
    for (std::int64_t j = 0; j < seen; ++j) {
      auto& each = part[static_cast<std::size_t>(j)];
      each = std::exp(scale * dot(query, given.key.data() + (key_row + j) * dim, dim));
      sum += each;
    }
    double* output = result.output.data() + row * value_dim;
    for (std::int64_t j = 0; j < seen; ++j) {
      auto& each = part[static_cast<std::size_t>(j)];
      each /= sum;
      for (std::int64_t d = 0; d < value_dim; ++d) {
        output[d] +=
            each * double{given.value[static_cast<std::size_t>((key_row + j) * value_dim + d)]};
      }
    }
    if (given.output_gradient.empty()) continue;
    const float* gradient = given.output_gradient.data() + row * value_dim;
    double delta = 0;
    for (std::int64_t d = 0; d < value_dim; ++d) delta += double{gradient[d]} * output[d];
    for (std::int64_t j = 0; j < seen; ++j) {
      const float* value = given.value.data() + (key_row + j) * value_dim;
      const double probability = part[static_cast<std::size_t>(j)];
      const double score_gradient = probability * (dot(gradient, value, value_dim) - delta);
      for (std::int64_t d = 0; d < value_dim; ++d) {
        result.value_gradient[static_cast<std::size_t>((key_row + j) * value_dim + d)] +=
            probability * double{gradient[d]};
      }
      for (std::int64_t d = 0; d < dim; ++d) {
        const auto key_place = static_cast<std::size_t>((key_row + j) * dim + d);
        result.query_gradient[static_cast<std::size_t>(row * dim + d)] +=
            scale * score_gradient * double{given.key[key_place]};
        result.key_gradient[key_place] += scale * score_gradient * double{query[d]};
      }
    }
  }
  return result;
}

void expect_close(std::span<const float> got, const std::vector<double>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i], 2e-5 * (1 + std::abs(wanted[i]))) << i;
  }
}

TEST(Unfused, IsAttentionForwardAndBackward) {
  Team team(3);
  for (const bool is_causal : {false, true}) {
    for (const std::int64_t key_heads : {1, 2, 4}) {
      Case shape;
      shape.sizes.heads = 4;
      shape.sizes.key_heads = key_heads;
      shape.sizes.queries = shape.sizes.keys = 37;
      shape.sizes.dim = 24;
      shape.sizes.value_dim = 16;
      const PeerCase wanted{&shape, TW_BACKWARD, is_causal};
      Unfused work(wanted, multiply_plainly, team);
      for (int run = 0; run < 2; ++run) {
        work.forward();
        work.backward();
      }
      const Expected right = expected(wanted, work.tensors());
      expect_close(work.tensors().output, right.output);
      expect_close(work.tensors().query_gradient, right.query_gradient);
      expect_close(work.tensors().key_gradient, right.key_gradient);
      expect_close(work.tensors().value_gradient, right.value_gradient);
    }
  }
}

TEST(Unfused, TakesOneQuery) {
  Team team(2);
  Case shape;
  shape.sizes.heads = 4;
  shape.sizes.key_heads = 2;
  shape.sizes.queries = 1;
  shape.sizes.keys = 70;
  shape.sizes.dim = shape.sizes.value_dim = 8;
  const PeerCase wanted{&shape, TW_FORWARD, false};
  Unfused work(wanted, multiply_plainly, team);
  work.forward();
  expect_close(work.tensors().output, expected(wanted, work.tensors()).output);
}

TEST(SoftmaxRows, ExponentialsAreRight) {
  std::vector<float> row;
  for (int i = 0; i < 1001; ++i) row.push_back(-85.0F + 0.09F * static_cast<float>(i));
  std::vector<float> got = row;
  const float sum = exponentials(got.data(), static_cast<std::int64_t>(got.size()), 1.5F);
  double wanted_sum = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double wanted = std::exp(double{row[i] - 1.5F});
    EXPECT_NEAR(got[i], wanted, 5e-6 * wanted) << row[i];
    wanted_sum += wanted;
  }
  EXPECT_NEAR(sum, wanted_sum, 1e-5 * wanted_sum);
  EXPECT_EQ(largest(row.data(), 1001), row.back());
  std::vector<float> far(40, -1e30F);
  exponentials(far.data(), 40, 0);
  for (const float each : far) EXPECT_LT(each, 1e-37F);
}

TEST(PeerCase, IsWhatAllUnderstandAlike) {
  EXPECT_FALSE(peer_case(find_case("f32-d64-1024"), TW_FORWARD)->is_causal);
  EXPECT_TRUE(peer_case(find_case("f32-d64-1024-causal"), TW_FORWARD)->is_causal);
  // One query at the end sees every key: causal and full are the same.
  EXPECT_FALSE(peer_case(find_case("decode-8192"), TW_FORWARD)->is_causal);
  for (const char* name : {"uneven-causal", "shifted", "window", "chunked", "softcap", "alibi",
                           "bias", "sinks", "dropout", "packed", "no-keys", "no-queries"}) {
    EXPECT_FALSE(peer_case(find_case(name), TW_FORWARD)) << name;
  }
}

}  // namespace
}  // namespace tilewise::cli
