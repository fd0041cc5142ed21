// Where a workload's tensors lie in memory.
#include "cli/core/workload.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>

namespace tilewise::cli {
namespace {

// Copies each number to where another layout has it.
void copy(const tw_tensor& from, const tw_tensor& to) {
  const auto& size = from.shape;
  for (std::int64_t n = 0; n < element_count(from); ++n) {
    const std::int64_t column = n % size[3], head = n / size[3] % size[2];
    const std::int64_t row = n / size[3] / size[2] % size[1];
    const std::int64_t batch = n / size[3] / size[2] / size[1];
    const auto at = [&](const tw_tensor& tensor) {
      return static_cast<float*>(tensor.data) + batch * tensor.stride[0] + row * tensor.stride[1] +
             head * tensor.stride[2] + column * tensor.stride[3];
    };
    *at(to) = *at(from);
  }
}

TEST(Workload, GivesTheSameResultsInBothLayouts) {
  const Case shape = find_case("uneven-causal");
  Workload rows(shape, false, 1), heads(shape, false, 1, TensorLayout::kHeads);
  tw_request &a = rows.call().request, &b = heads.call().request;
  EXPECT_EQ(b.query.stride[2], shape.sizes.queries * shape.sizes.dim);
  copy(a.query, b.query);
  copy(a.key, b.key);
  copy(a.value, b.value);
  Runner runner;
  for (Workload* work : {&rows, &heads}) {
    runner.prepare(TW_FORWARD, work->call());
    runner.run(TW_FORWARD, work->call());
  }
  Workload again(shape, false, 2);
  const tw_tensor& turned = again.call().request.output;
  copy(b.output, turned);
  EXPECT_EQ(std::memcmp(turned.data, a.output.data, static_cast<std::size_t>(a.output.byte_size)),
            0);
}

TEST(Workload, GathersTheHeadsOfPackedSequencesAndGradients) {
  const Case shape = find_case("packed");
  Workload work(shape, true, 1, TensorLayout::kHeads);
  const tw_tensor &query = work.call().request.query, &key = work.call().gradients.key;
  EXPECT_EQ(query.stride[0], shape.sizes.dim);
  EXPECT_EQ(query.stride[1], query.shape[0] * shape.sizes.dim);
  EXPECT_EQ(key.stride[1], key.shape[0] * shape.sizes.dim);
}

TEST(TensorVector, BeginsOnALineAndALargeOneOnALargePage) {
  constexpr std::size_t kPage = std::size_t{2} << 20;
  for (const auto& [bytes, unit] : {std::pair<std::size_t, std::size_t>{1, 64},
                                    {2 * kPage - 1, 64},
                                    {2 * kPage, kPage},
                                    {2 * kPage + 1, kPage}}) {
    const TensorVector<std::byte> memory(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % unit, 0U) << bytes;
    EXPECT_EQ(memory.back(), std::byte{0});
  }
}

}  // namespace
}  // namespace tilewise::cli
