// Tables on a real GPU: wrong ones that are planted there, and those of a graph that change between
// its replays.
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "cuda_device/twins.h"

namespace tilewise::gpu {
namespace {

constexpr std::int32_t kFar = 1 << 30;

class Tables : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!driver().why_not.empty()) return;
    std::uint32_t none = 0;
    ASSERT_TRUE(take_faults(none, on_device()).ok());
  }

  // Expects these bits in the library's own error word, and then in the caller's. Reads beside a
  // tensor would find NaN, and writes there are noticed.
  static void expect_faults(const Twins& twins, const Request& request, std::uint32_t bits) {
    Execution where = on_device();
    Status status = forward(request, where);
    ASSERT_TRUE(status.ok()) << status.message;
    std::uint32_t own = 0;
    status = take_faults(own, where);
    ASSERT_TRUE(status.ok()) << status.message;
    EXPECT_EQ(own, bits);
    Twins words;
    const Tensor word = words.integers({0}, {1});
    where.error = static_cast<std::uint32_t*>(word.data);
    status = forward(request, where);
    ASSERT_TRUE(status.ok()) << status.message;
    ASSERT_TRUE(take_faults(own, where).ok());
    EXPECT_EQ(own, 0u);
    std::uint32_t callers = 0;
    const auto at = static_cast<Address>(reinterpret_cast<std::uintptr_t>(word.data));
    must(driver().to_host(&callers, at, sizeof callers), "a copy");
    EXPECT_EQ(callers, bits);
    for (const float number : twins.read(request.output)) ASSERT_FALSE(std::isnan(number));
    EXPECT_TRUE(twins.is_intact());
  }
};

TEST_F(Tables, HonestOnesReportNothing) {
  Twins twins;
  const Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  expect_faults(twins, request, 0);
  EXPECT_LE(difference(twins.read(request.output), expected(twins, request)), kNear);
}

TEST_F(Tables, WrongPagesAreMaskedAndReported) {
  for (const std::int32_t page : {static_cast<std::int32_t>(kPages), -1, kFar, -kFar}) {
    Twins twins;
    expect_faults(twins, paged(twins, {9, 12}, {2, page, 4, 1, 3, 2}), TW_FAULT_TABLE);
  }
}

TEST_F(Tables, WrongLengthsAreCutAndReported) {
  Twins twins;
  const Request request = paged(twins, {kFar, -kFar}, {2, 0, 4, 1, 3, 2});
  expect_faults(twins, request, TW_FAULT_LENGTH);
  Request cut = request;
  cut.keys.used = twins.integers({12, 0}, {2});
  EXPECT_LE(difference(twins.read(request.output), expected(twins, cut)), kNear);
}

TEST_F(Tables, WrongOffsetsOwnNothing) {
  Twins twins;
  Request request = paged(twins, {4, 12}, {2, 0, 4, 1, 3, 2});
  request.query = twins.floats({6, 4, 24});
  request.output = twins.floats({6, 4, 24});
  request.queries = {.offsets = twins.integers({4, 2, kFar}, {3}), .max_length = 3};
  expect_faults(twins, request, TW_FAULT_LENGTH);
}

TEST_F(Tables, WrongPositionsTurnNothing) {
  Twins twins;
  RotaryRequest request;
  request.input = twins.floats({2, 3, 2, 8});
  request.output = twins.blank({2, 3, 2, 8});
  request.rotation = {.cosine = twins.floats({8, 4}), .sine = twins.floats({8, 4})};
  request.positions = twins.longs({6, std::numeric_limits<std::int64_t>::max()});
  Status status = rotary(request, on_device());
  ASSERT_TRUE(status.ok()) << status.message;
  std::uint32_t faults = 0;
  status = take_faults(faults, on_device());
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(faults, static_cast<std::uint32_t>(TW_FAULT_POSITION));
  // Of sequence 0 the last row would be at position 8.
  const std::vector<float> from = twins.read(request.input), to = twins.read(request.output);
  for (std::size_t n = 0; n < from.size(); ++n) EXPECT_EQ(to[n] == from[n], n >= 2 * 2 * 8) << n;
  EXPECT_TRUE(twins.is_intact());
}

// A replay sees what the tables hold then: other lengths, other pages, and wrong ones.
TEST_F(Tables, AGraphsReplayReadsThemAnew) {
  constexpr int kGlobal = 0;
  Twins twins;
  const Stream stream;
  const Execution where = on_device(stream.get());
  Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  request.query = twins.floats({6, 4, 24});
  request.output = twins.floats({6, 4, 24});
  request.queries = {.offsets = twins.longs({0, 2, 6}), .max_length = 4};
  Status status = prepare(TW_FORWARD, request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  Handle graph = nullptr, running = nullptr;
  must(started().begin_capture(stream.get(), kGlobal), "to begin a capture");
  status = forward(request, where);
  must(driver().end_capture(stream.get(), &graph), "to end the capture");
  ASSERT_TRUE(status.ok()) << status.message;
  must(driver().instantiate(&running, graph, 0), "to instantiate the graph");
  struct Said {
    std::int64_t offsets[3];
    std::int32_t used[2], table[6];
    std::uint32_t faults;
  };
  const Said all[] = {{{0, 2, 6}, {9, 12}, {2, 0, 4, 1, 3, 2}, 0},
                      {{0, 4, 6}, {5, 7}, {4, 3, kFar, 0, 1, -1}, 0},
                      {{0, 3, 6}, {12, 1}, {1, 1, 2, 3, 0, 0}, 0},
                      {{0, 3, 6}, {12, 1}, {1, kFar, 2, 3, 0, 0}, TW_FAULT_TABLE}};
  for (const Said& said : all) {
    twins.write(request.queries.offsets, said.offsets);
    twins.write(request.keys.used, said.used);
    twins.write(request.cache.page_table, said.table);
    twins.blank_again(request.output);
    must(driver().launch_graph(running, stream.get()), "to launch the graph");
    std::uint32_t faults = 0;
    status = take_faults(faults, where);
    ASSERT_TRUE(status.ok()) << status.message;
    EXPECT_EQ(faults, said.faults);
    if (said.faults == 0) {
      EXPECT_LE(difference(twins.read(request.output), expected(twins, request)), kNear);
    }
  }
  EXPECT_TRUE(twins.is_intact());
}

// A graph keeps what the host's tables said when it was captured.
TEST_F(Tables, AGraphKeepsThoseOfTheHost) {
  Twins twins;
  const Stream stream;
  const Request elsewhere = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  Request request = elsewhere;
  std::int32_t used[] = {9, 12}, table[] = {2, 0, 4, 1, 3, 2};
  request.keys.used = dense(used, {2});
  request.cache.page_table = dense(table, {2, kColumns});
  Execution where = on_device(stream.get());
  where.device_tables = false;
  ASSERT_TRUE(workspace(TW_FORWARD, request, where.workspace_bytes, where).ok());
  where.workspace = reinterpret_cast<void*>(twins.bytes(where.workspace_bytes));
  ASSERT_TRUE(prepare(TW_FORWARD, request, where).ok());
  Handle graph = nullptr, running = nullptr;
  must(started().begin_capture(stream.get(), 0), "to begin a capture");
  const Status status = forward(request, where);
  must(driver().end_capture(stream.get(), &graph), "to end the capture");
  ASSERT_TRUE(status.ok()) << status.message;
  must(driver().instantiate(&running, graph, 0), "to instantiate the graph");
  std::memset(used, 0xFF, sizeof used);
  std::memset(table, 0xFF, sizeof table);
  must(driver().launch_graph(running, stream.get()), "to launch the graph");
  must(driver().wait(stream.get()), "to wait");
  EXPECT_LE(difference(twins.read(request.output), expected(twins, elsewhere)), kNear);
  EXPECT_TRUE(twins.is_intact());
}

// More words than two kernels carry.
TEST_F(Tables, OfTheHostMayBeLarge) {
  constexpr std::int64_t kMany = 3000;
  Twins twins;
  std::vector<std::int32_t> used(kMany);
  for (std::size_t b = 0; b < used.size(); ++b) used[b] = static_cast<std::int32_t>(b % 4);
  Request request;
  request.query = twins.floats({kMany, 1, 1, 8});
  request.key = twins.floats({kMany, 3, 1, 8});
  request.value = twins.floats({kMany, 3, 1, 8});
  request.output = twins.blank({kMany, 1, 1, 8});
  Request elsewhere = request;
  elsewhere.keys.used = twins.integers(used, {kMany});
  request.keys.used = dense(used.data(), {kMany});
  Execution where = on_device();
  where.device_tables = false;
  ASSERT_TRUE(workspace(TW_FORWARD, request, where.workspace_bytes, where).ok());
  where.workspace = reinterpret_cast<void*>(twins.bytes(where.workspace_bytes));
  const Status status = forward(request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_LE(difference(twins.read(request.output), expected(twins, elsewhere)), kNear);
  EXPECT_TRUE(twins.is_intact());
}

// Each on a stream and on tensors of its own; they share the device, its kernels and its error
// word.
TEST_F(Tables, ServeManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> wrong(6);
  for (std::string& said : wrong)
    threads.emplace_back([&said] {
      started();
      Twins twins;
      const Stream stream;
      const Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
      for (int n = 0; n < 50 && said.empty(); ++n) {
        const Status status = forward(request, on_device(stream.get()));
        must(driver().wait(stream.get()), "to wait");
        if (!status.ok()) said = status.message;
      }
      if (said.empty() &&
          !(difference(twins.read(request.output), expected(twins, request)) <= kNear))
        said = "a wrong result";
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& said : wrong) EXPECT_EQ(said, "");
}

}  // namespace
}  // namespace tilewise::gpu
