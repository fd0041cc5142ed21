// Each scenario of alone.h in a process of its own, which has so many seconds.
#include <gtest/gtest.h>

#include <cstdlib>

#include "cuda_device/alone.h"
#include "cuda_device/gpu.h"
#include "robust/process.h"

namespace tilewise::gpu {
namespace {

// A first call may compile kernels that no pack has, which takes seconds.
constexpr int kSeconds = 120;

class OnGpu : public GpuTest {
 protected:
  static std::string alone(const std::vector<std::string>& words) {
    return robust::run_alone(kSeconds, words);
  }
};

TEST_F(OnGpu, CallsComeBehindWhatWasEnqueuedAndWaitForNothing) {
  for (const char* stream : {"legacy", "explicit-legacy", "per-thread", "blocking", "non-blocking"})
    EXPECT_EQ(alone({"wait-for-nothing", stream}), "") << stream;
}

TEST_F(OnGpu, TheCallersContextStaysCurrent) {
  EXPECT_EQ(alone({"keep-contexts"}), "");
}

TEST_F(OnGpu, TwoDevicesAreToldApart) {
  if (driver().devices < 2) GTEST_SKIP() << "This machine has one GPU, and this test needs two.";
  EXPECT_EQ(alone({"tell-devices-apart"}), "");
}

TEST_F(OnGpu, AnUnpreparedCallSpoilsNoCapture) {
  EXPECT_EQ(alone({"capture-cold"}), "");
}

TEST_F(OnGpu, APoisonedContextGetsASentenceAndTheProcessorGoesOn) {
  EXPECT_EQ(alone({"poison"}), "");
}

TEST_F(OnGpu, CallsGoOnAfterAReset) {
  EXPECT_EQ(alone({"reset"}), "");
}

TEST_F(OnGpu, AFullDeviceGetsASentence) {
  EXPECT_EQ(alone({"fill-memory"}), "");
}

TEST_F(OnGpu, WorkersForkedBeforeTheFirstCallWork) {
  EXPECT_EQ(alone({"fork-early"}), "");
}

TEST_F(OnGpu, AWorkerForkedTooLateGetsASentence) {
  EXPECT_EQ(alone({"fork-late"}), "");
}

// Each of the driver's calls that the library makes in a first and a second call fails in turn.
TEST_F(OnGpu, EachCallOfTheDriverMayFail) {
  setenv("TILEWISE_TEST_REAL_CUDA", driver().path.c_str(), 1);
  int k = 0;
  for (; k < 200; ++k) {
    const std::string ended = alone({"fail-one", std::to_string(k)});
    if (ended.rfind("exit status " + std::to_string(kNoSuchCall), 0) == 0) break;
    ASSERT_EQ(ended, "") << "call " << k;
  }
  unsetenv("TILEWISE_TEST_REAL_CUDA");
  EXPECT_GT(k, 10);
  EXPECT_LT(k, 200);
}

}  // namespace
}  // namespace tilewise::gpu
