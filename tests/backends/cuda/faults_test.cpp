// Tables that lie on the device and hold what no host could check: kernels stay inside every buffer
// (each lies between pages that nobody may touch), mask what they cannot find, and say so in the
// error word.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <vector>

#include "conformance/guarded.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

using conformance::Guarded;

constexpr std::int64_t kBatch = 2, kQueries = 3, kHeads = 2, kDim = 8;
constexpr std::int64_t kPages = 5, kPageSize = 4, kColumns = 3, kRoom = kColumns * kPageSize;

class Faults : public testing::Test {
 protected:
  Faults() {
    where.device = {TW_CUDA, 0};
    where.error = &error;
    where.device_tables = true;
  }

  // Flush against the page behind it.
  template <class T>
  Tensor copied(tw_dtype dtype, const std::vector<T>& numbers,
                std::initializer_list<std::int64_t> shape) {
    const std::size_t bytes = numbers.size() * sizeof(T);
    memory_.emplace_back(bytes, Guarded::Flush::kEnd);
    std::memcpy(memory_.back().data(), numbers.data(), bytes);
    Tensor made = dense(reinterpret_cast<float*>(memory_.back().data()), shape);
    made.dtype = dtype;
    return made;
  }
  Tensor floats(std::initializer_list<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    std::vector<float> numbers(static_cast<std::size_t>(count));
    for (float& number : numbers) number = static_cast<float>(std::sin(++drawn_ * 1.7));
    return copied(TW_FLOAT32, numbers, shape);
  }
  Tensor integers(const std::vector<std::int32_t>& numbers) {
    return copied(TW_INT32, numbers, {static_cast<std::int64_t>(numbers.size())});
  }
  Tensor table(const std::vector<std::int32_t>& pages) {
    return copied(TW_INT32, pages, {kBatch, kColumns});
  }

  Request paged(const std::vector<std::int32_t>& used, const std::vector<std::int32_t>& pages) {
    Request request;
    request.query = query_;
    request.key = key_;
    request.value = value_;
    request.output = floats({kBatch, kQueries, kHeads, kDim});
    request.lse = floats({kBatch, kHeads, kQueries});
    request.keys = {.used = integers(used)};
    request.cache = {.page_table = table(pages)};
    return request;
  }

  // Compares with `honest`, whose tables are right, on the processor's plain backend.
  void expect_same(const Request& got, const Request& honest) {
    Execution host;
    host.backend = "plain";
    const Status status = forward(honest, host);
    ASSERT_TRUE(status.ok()) << status.message;
    const auto compare = [](const Tensor& a, const Tensor& b, std::int64_t count) {
      const auto *x = static_cast<const float*>(a.data), *y = static_cast<const float*>(b.data);
      for (std::int64_t n = 0; n < count; ++n)
        EXPECT_TRUE(x[n] == y[n] || std::abs(x[n] - y[n]) < 1e-5)
            << n << ": " << x[n] << ", " << y[n];
    };
    compare(got.output, honest.output, kBatch * kQueries * kHeads * kDim);
    compare(got.lse, honest.lse, kBatch * kHeads * kQueries);
  }

  void run(const Request& request, std::uint32_t bits) {
    const Status status = forward(request, where);
    ASSERT_TRUE(status.ok()) << status.message;
    EXPECT_EQ(error, bits);
  }

  // Hides keys `first` to `end - 1` of sequence b.
  Tensor hidden(std::int64_t b, std::int64_t first, std::int64_t end) {
    std::vector<unsigned char> visible(kBatch * kRoom, 1);
    for (std::int64_t j = first; j < end; ++j) visible[static_cast<std::size_t>(b * kRoom + j)] = 0;
    return copied(TW_BOOL, visible, {kBatch, 1, 1, kRoom});
  }

  Execution where;
  std::uint32_t error = 0;

 private:
  int drawn_ = 0;
  std::deque<Guarded> memory_;
  Tensor query_ = floats({kBatch, kQueries, kHeads, kDim});
  Tensor key_ = floats({kPages, kPageSize, 1, kDim}), value_ = floats({kPages, kPageSize, 1, kDim});
};

constexpr std::int32_t kFar = 1 << 30;

TEST_F(Faults, HonestTablesSetNoBit) {
  const Request request = paged({9, 12}, {2, 0, 4, 1, 3, 2});
  run(request, 0);
  expect_same(request, paged({9, 12}, {2, 0, 4, 1, 3, 2}));
}

TEST_F(Faults, PagesThatTheCacheLacksAreMasked) {
  for (const std::int32_t page : {5, -1, kFar, -kFar}) {
    error = 0;
    const Request request = paged({9, 12}, {2, page, 4, 1, 3, 2});
    run(request, TW_FAULT_TABLE);
    Request honest = paged({9, 12}, {2, 0, 4, 1, 3, 2});
    honest.mask.visible = hidden(0, kPageSize, 2 * kPageSize);
    expect_same(request, honest);
  }
}

TEST_F(Faults, EntriesThatNoLengthReachesMayHoldAnything) {
  run(paged({4, 12}, {2, kFar, -1, 1, 3, 2}), 0);
}

TEST_F(Faults, LengthsBeyondThePagesAreCut) {
  const Request request = paged({kFar, -kFar}, {2, 0, 4, 1, 3, 2});
  run(request, TW_FAULT_LENGTH);
  expect_same(request, paged({12, 0}, {2, 0, 4, 1, 3, 2}));
}

TEST_F(Faults, LengthsBeyondTheBoundAreCut) {
  Request request = paged({9, 4}, {2, 0, 4, 1, 3, 2});
  request.keys.max_length = 5;
  run(request, TW_FAULT_LENGTH);
  expect_same(request, paged({5, 4}, {2, 0, 4, 1, 3, 2}));
}

TEST_F(Faults, RowsThatTheCacheLacksAreMasked) {
  Request request = paged({4, 4}, {0, 0, 0, 0, 0, 0});
  request.cache = {.batch_index = integers({kFar, 3})};
  run(request, TW_FAULT_TABLE);
  Request honest = paged({4, 4}, {0, 0, 0, 3, 0, 0});
  honest.mask.visible = hidden(0, 0, kRoom);
  expect_same(request, honest);
}

TEST_F(Faults, OffsetsOutOfOrderOwnNothing) {
  Request request = paged({4, 4}, {0, 0, 0, 0, 0, 0});
  request.query = request.output = {};
  request.query = floats({6, kHeads, kDim});
  request.output = floats({6, kHeads, kDim});
  request.lse = floats({kHeads, 6});
  const std::vector<float> before(static_cast<const float*>(request.output.data),
                                  static_cast<const float*>(request.output.data) + 96);
  request.queries = {.offsets = integers({4, 2, kFar}), .max_length = 3};
  run(request, TW_FAULT_LENGTH);
  // Sequence 0 has no rows left. Sequence 1 has rows 2 to 5, and is cut to three of them.
  const auto* output = static_cast<const float*>(request.output.data);
  for (std::size_t n = 0; n < 96; ++n)
    EXPECT_EQ(output[n] == before[n], n < 2 * 16 || n >= 5 * 16) << n;
}

// Gradients of keys are written to pages, but not to one that the cache lacks.
TEST_F(Faults, GradientsOfMaskedPagesAreNotWritten) {
  const Tensor incoming = floats({kBatch, kQueries, kHeads, kDim});
  std::vector<float> before(kPages * kPageSize * kDim);
  const auto gradients_of = [&](Request& request, const Execution& by) {
    Status status = forward(request, by);
    ASSERT_TRUE(status.ok()) << status.message;
    request.gradients.output = incoming;
    request.gradients.query = floats({kBatch, kQueries, kHeads, kDim});
    request.gradients.key = floats({kPages, kPageSize, 1, kDim});
    request.gradients.value = floats({kPages, kPageSize, 1, kDim});
    std::memcpy(before.data(), request.gradients.key.data, before.size() * sizeof(float));
    Execution where_to = by;
    const Status asked = workspace(TW_BACKWARD, request, where_to.workspace_bytes, where_to);
    ASSERT_TRUE(asked.ok()) << asked.message;
    std::vector<double> room(where_to.workspace_bytes / sizeof(double) + 1);
    where_to.workspace = room.data();
    status = backward(request, where_to);
    ASSERT_TRUE(status.ok()) << status.message;
  };
  Request request = paged({8, 12}, {2, kFar, -1, 1, 3, 4});
  gradients_of(request, where);
  EXPECT_EQ(error, TW_FAULT_TABLE);
  // No sequence has page 0.
  for (std::size_t n = 0; n < kPageSize * kDim; ++n)
    EXPECT_EQ(static_cast<const float*>(request.gradients.key.data)[n], before[n]) << n;
  Request honest = paged({8, 12}, {2, 0, 0, 1, 3, 4});
  honest.mask.visible = hidden(0, kPageSize, 2 * kPageSize);
  Execution host;
  host.backend = "plain";
  gradients_of(honest, host);
  const auto *got = static_cast<const float*>(request.gradients.key.data),
             *want = static_cast<const float*>(honest.gradients.key.data);
  // In `honest` page 0 has the hidden keys, so it is not compared.
  for (std::int64_t n = kPageSize * kDim; n < kPages * kPageSize * kDim; ++n)
    EXPECT_NEAR(got[n], want[n], 1e-5) << n;
}

// The same where a block takes the keys of a short sequence in two tiles.
TEST_F(Faults, GradientsOfRowsThatTheCacheLacksAreNotWritten) {
  constexpr std::int64_t kSequences = 4, kRows = 64, kKeys = 200, kWide = 64;
  constexpr std::uint16_t kOne = 0x3f80;
  const auto ones = [&](std::int64_t rows) {
    const auto count = static_cast<std::size_t>(kSequences * rows * kHeads * kWide);
    return copied(TW_BFLOAT16, std::vector<std::uint16_t>(count, kOne),
                  {kSequences, rows, kHeads, kWide});
  };
  Request request;
  request.query = ones(kRows);
  request.key = ones(kKeys);
  request.value = ones(kKeys);
  request.output = ones(kRows);
  request.lse = floats({kSequences, kHeads, kRows});
  request.cache = {.batch_index = integers({kFar, 1, 2, 3})};
  run(request, TW_FAULT_TABLE);
  request.gradients.output = ones(kRows);
  request.gradients.query = ones(kRows);
  request.gradients.key = ones(kKeys);
  request.gradients.value = ones(kKeys);
  const Status asked = workspace(TW_BACKWARD, request, where.workspace_bytes, where);
  ASSERT_TRUE(asked.ok()) << asked.message;
  std::vector<double> room(where.workspace_bytes / sizeof(double) + 1);
  where.workspace = room.data();
  const Status status = backward(request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(error, TW_FAULT_TABLE);
  const auto* key = static_cast<const std::uint16_t*>(request.gradients.key.data);
  for (std::int64_t n = 0; n < kKeys * kHeads * kWide; ++n) ASSERT_EQ(key[n], kOne) << n;
  const auto* query = static_cast<const std::uint16_t*>(request.gradients.query.data);
  for (std::int64_t n = 0; n < kRows * kHeads * kWide; ++n) ASSERT_EQ(query[n], 0) << n;
}

TEST_F(Faults, PositionsThatTheTablesLackTurnNothing) {
  RotaryRequest request;
  request.input = floats({kBatch, kQueries, kHeads, kDim});
  request.output = floats({kBatch, kQueries, kHeads, kDim});
  request.rotation = {.cosine = floats({8, 4}), .sine = floats({8, 4})};
  request.positions =
      copied<std::int64_t>(TW_INT64, {6, std::numeric_limits<std::int64_t>::max()}, {kBatch});
  const Status status = rotary(request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(error, TW_FAULT_POSITION);
  // Of sequence 0 the last row would be at position 8.
  const auto *from = static_cast<const float*>(request.input.data),
             *to = static_cast<const float*>(request.output.data);
  for (std::int64_t n = 0; n < kBatch * kQueries * kHeads * kDim; ++n)
    EXPECT_EQ(to[n] == from[n], n >= 2 * kHeads * kDim) << n;
}

TEST_F(Faults, AppendsNothingBehindTheCache) {
  AppendRequest request;
  request.key = floats({kBatch, 2, 1, kDim});
  request.value = floats({kBatch, 2, 1, kDim});
  request.key_cache = floats({kPages, kPageSize, 1, kDim});
  request.value_cache = floats({kPages, kPageSize, 1, kDim});
  request.lengths = integers({kRoom - 1, -kFar});
  request.cache = {.page_table = table({2, 0, 4, 1, 3, kFar})};
  const Tensor& cache = request.key_cache;
  const std::vector<float> before(
      static_cast<const float*>(cache.data),
      static_cast<const float*>(cache.data) + kPages * kPageSize * kDim);
  const Status status = append(request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(error, TW_FAULT_LENGTH);
  // One row fits: the last of page 4.
  const auto *after = static_cast<const float*>(cache.data),
             *fresh = static_cast<const float*>(request.key.data);
  constexpr std::int64_t kFirst = (4 * kPageSize + 3) * kDim;
  for (std::int64_t n = 0; n < kPages * kPageSize * kDim; ++n) {
    const bool written = n >= kFirst && n < kFirst + kDim;
    EXPECT_EQ(after[n], written ? fresh[n - kFirst] : before[static_cast<std::size_t>(n)]) << n;
  }
}

TEST_F(Faults, AppendsNothingToPagesThatTheCacheLacks) {
  AppendRequest request;
  request.key = floats({kBatch, 2, 1, kDim});
  request.value = floats({kBatch, 2, 1, kDim});
  request.key_cache = floats({kPages, kPageSize, 1, kDim});
  request.value_cache = floats({kPages, kPageSize, 1, kDim});
  request.lengths = integers({4, 0});
  request.cache = {.page_table = table({2, kFar, 4, 1, 3, 0})};
  const Status status = append(request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(error, TW_FAULT_TABLE);
}

}  // namespace
}  // namespace tilewise
