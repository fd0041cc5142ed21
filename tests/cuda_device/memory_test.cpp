// Pointers to the wrong memory are refused with a sentence before they are used.
#include <cstring>

#include "cuda_device/twins.h"

namespace tilewise::gpu {
namespace {

class Memory : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!driver().why_not.empty()) return;
    constexpr int kPageableMemoryAccess = 88;
    int reads_all = 0;
    must(driver().attribute(&reads_all, kPageableMemoryAccess, 0), "an attribute");
    if (reads_all != 0) GTEST_SKIP() << "This GPU reads all memory of the host.";
  }

  static void expect_refusal(const Status& status, const char* begin) {
    EXPECT_EQ(status.code, TW_INVALID);
    EXPECT_EQ(status.message.rfind(begin, 0), 0u) << status.message;
  }
};

TEST_F(Memory, OfTheHostIsNoTensorOfTheDevice) {
  Twins twins;
  const Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  const Execution where = on_device();
  Request wrong = request;
  wrong.query = twins.on_host(request.query);
  expect_refusal(forward(wrong, where), "query is no memory that CUDA device 0 reads");
  wrong = request;
  wrong.output = twins.on_host(request.output);
  expect_refusal(forward(wrong, where), "output is no memory that CUDA device 0 reads");
  wrong = request;
  wrong.cache.page_table = twins.on_host(request.cache.page_table);
  expect_refusal(forward(wrong, where), "cache.page_table is no memory that CUDA device 0 reads");
  Execution elsewhere = where;
  std::uint32_t word = 0;
  elsewhere.error = &word;
  expect_refusal(forward(request, elsewhere), "execution.error is no memory");
  // None of that has harmed anything.
  const Status status = forward(request, where);
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_LE(difference(twins.read(request.output), expected(twins, request)), kNear);
}

TEST_F(Memory, OfTheDeviceIsNoTableOfTheHost) {
  Twins twins;
  const Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  Execution where = on_device();
  where.device_tables = false;
  expect_refusal(forward(request, where), "keys.used lies on a device");
}

TEST_F(Memory, ThatWasFreedIsNone) {
  Twins twins;
  Request request = attention(twins);
  constexpr std::size_t kLarge = std::size_t{64} << 20;  // no part of a block that stays
  Address place = 0;
  must(started().allocate(&place, kLarge), "memory");
  must(driver().release(place), "to give it back");
  request.value.data = reinterpret_cast<void*>(place);
  expect_refusal(forward(request, on_device()), "value is no memory that CUDA device 0 reads");
}

// Pinned memory is both sides': it may hold tensors and tables.
TEST_F(Memory, ThatIsPinnedServesBothSides) {
  Twins twins;
  Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  const Request elsewhere = request;
  void* pinned = nullptr;
  must(started().allocate_host(&pinned, 64, 3), "pinned memory");
  const std::int32_t used[] = {9, 12};
  std::memcpy(pinned, used, sizeof used);
  request.keys.used.data = pinned;
  const Status status = forward(request, on_device());
  must(driver().wait_for_all(), "to wait");
  EXPECT_TRUE(status.ok()) << status.message;
  EXPECT_LE(difference(twins.read(request.output), expected(twins, elsewhere)), kNear);
  driver().release_host(pinned);
}

}  // namespace
}  // namespace tilewise::gpu
