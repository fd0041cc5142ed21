// How the driver is opened and called, with the driver of fake_cuda.cpp.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "backends/cuda/driver/device.h"
#include "in_child.h"

namespace tilewise::cuda {
namespace {

// The sentence with which a driver is refused after `spoil` has changed it.
std::string refusal(const std::function<void(FakeCuda&)>& spoil) {
  return in_child([&](FakeCuda& fake) {
    spoil(fake);
    const Calls* calls = nullptr;
    const Status status = open_driver(calls);
    const Status again = open_driver(calls);
    if (status.ok() != (calls != nullptr)) return std::string("calls and status differ");
    if (std::strcmp(status.sentence, again.sentence) != 0)
      return std::string("it changed its mind");
    return std::string(status.sentence);
  });
}

TEST(CudaDriver, OpensOne) {
  EXPECT_EQ(refusal([](FakeCuda&) {}), "");
}

TEST(CudaDriver, SaysWhyThereIsNone) {
  EXPECT_NE(refusal([](FakeCuda& f) { f.start_result = kNoDevice; }).find("CUDA_VISIBLE_DEVICES"),
            std::string::npos);
  EXPECT_NE(refusal([](FakeCuda& f) { f.start_result = kUnknown; }).find("nvidia_uvm"),
            std::string::npos);
  EXPECT_NE(refusal([](FakeCuda& f) { f.start_result = kDriverMismatch; }).find("restart"),
            std::string::npos);
  EXPECT_NE(refusal([](FakeCuda& f) { f.version_result = kStubLibrary; }).find("stub"),
            std::string::npos);
  EXPECT_EQ(
      refusal([](FakeCuda& f) { f.version = 11080; }),
      "the NVIDIA driver is too old (CUDA 11.8): install 525.60.13 (CUDA 12.0) or a newer one.");
  EXPECT_EQ(refusal([](FakeCuda& f) { f.missing = "cuCtxGetId"; }),
            "the NVIDIA driver lacks cuCtxGetId: update it.");
}

TEST(CudaDriver, SaysThatThereIsNone) {
  const auto says = [](const char* path, const char* what) {
    const std::string text = refusal([=](FakeCuda&) { replace_driver(path); });
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  says("/no/such/libcuda.so.1", "there is no NVIDIA driver: /no/such/libcuda.so.1: cannot open");
  says("/no/such/libcuda.so.1", "Install one, or start the container with its GPUs.");
  says("libm.so.6", "is no NVIDIA driver, for it lacks cuDriverGetVersion");
}

// Each error has its name, the driver's own or ours, and what to do.
TEST(CudaDriver, NamesWhatKeepsItFromStarting) {
  const auto says = [](const std::function<void(FakeCuda&)>& spoil, const char* what) {
    EXPECT_EQ(refusal(spoil), std::string("the NVIDIA driver does not start: ") + what);
  };
  says([](FakeCuda& f) { f.start_result = kUnavailable; },
       "CUDA_ERROR_DEVICE_UNAVAILABLE (46): another process keeps the GPU to itself, or it has to "
       "be reset.");
  says([](FakeCuda& f) { f.start_result = kSystemNotReady; },
       "CUDA_ERROR_SYSTEM_NOT_READY (802): the machine's GPUs are not set up yet: look whether "
       "nvidia-fabricmanager runs.");
  says([](FakeCuda& f) { f.version_result = kStubLibrary; },
       "CUDA_ERROR_STUB_LIBRARY (34): libcuda.so.1 is the toolkit's stub and no driver: take "
       ".../stubs off the library path.");
  says([](FakeCuda& f) { f.start_result = 4711; },
       "CUDA_ERROR_OF_TOMORROW (4711): nvidia-smi and dmesg may say more.");
  says([](FakeCuda& f) { f.start_result = 4712; },
       "an error without a name (4712): nvidia-smi and dmesg may say more.");
  says([](FakeCuda& f) { f.resolve_result = kOperatingSystem; },
       "CUDA_ERROR_OPERATING_SYSTEM (304): the system refused the driver: look at the limits of "
       "memory (ulimit -v), at /dev/nvidia* and at dmesg.");
  // Each has a name and some advice other than that for unknown errors.
  for (const int result : {kOutOfMemory, kNotInitialized, kNoDevice, kInvalidDevice, kInvalidPtx,
                           kLaunchOutOfResources, kNotSupported, kDriverMismatch,
                           kCompatUnsupported, kNoServer, kServerNotReady, kUnknown}) {
    const std::string text = refusal([=](FakeCuda& f) { f.start_result = result; });
    EXPECT_NE(text.find(" (" + std::to_string(result) + "): "), std::string::npos) << text;
    EXPECT_EQ(text.find("an error without a name"), std::string::npos) << text;
    EXPECT_EQ(text.find("nvidia-smi and dmesg may"), std::string::npos) << text;
  }
}

// Later failures have names, too. Faults of a kernel all get the same advice.
TEST(CudaDriver, NamesWhatFailsLater) {
  EXPECT_EQ(
      in_child([](FakeCuda&) {
        const Calls* calls = nullptr;
        if (!open_driver(calls).ok()) return std::string("refused");
        std::string faults;
        constexpr Result kSome[] = {
            kIllegalAddress, kLaunchOutOfResources, kLaunchTimeout, kContextDestroyed,
            kAssert,         kAlreadyRegistered,    kFirstFault,    kLaunchFailed};
        for (const Result result : kSome)
          faults +=
              std::string(driver_failure(*calls, result, "x").sentence).find("end the process") !=
                      std::string::npos
                  ? "1"
                  : "0";
        Calls dumb = *calls;
        dumb.error_name = nullptr;
        return faults + std::string(driver_failure(dumb, kOutOfMemory, "\nx").sentence);
      }),
      "10101011\nx: CUDA_ERROR_OUT_OF_MEMORY (2): free memory of the device.");
}

// A newer driver may have other parameters behind a name if it is asked for a newer version.
TEST(CudaDriver, AsksForOneVersionWhateverTheDrivers) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              fake.version = 13050;
              const Calls* calls = nullptr;
              if (!open_driver(calls).ok()) return std::string("refused");
              return std::to_string(fake.oldest_asked) + " " + std::to_string(fake.newest_asked);
            }),
            "12000 12000");
}

TEST(CudaDriver, IsOfNoUseInAForkedChild) {
  EXPECT_EQ(in_child([](FakeCuda&) {
              const Calls* calls = nullptr;
              if (!open_driver(calls).ok()) return std::string("refused");
              return in_child([](FakeCuda&) {
                const Calls* lost = nullptr;
                return std::string(open_driver(lost).sentence);
              });
            }),
            "CUDA cannot be used in a process that was forked after its parent used CUDA: start "
            "workers by 'spawn'.");
}

// A parent that was refused has started nothing: its children hear the same.
TEST(CudaDriver, ARefusedParentsChildHearsTheReason) {
  EXPECT_EQ(
      in_child([](FakeCuda& fake) {
        fake.version = 11080;
        const Calls* calls = nullptr;
        if (open_driver(calls).ok()) return std::string("taken");
        return in_child([](FakeCuda&) {
          const Calls* lost = nullptr;
          return std::string(open_driver(lost).sentence);
        });
      }),
      "the NVIDIA driver is too old (CUDA 11.8): install 525.60.13 (CUDA 12.0) or a newer one.");
}

Stream stream_of(int device) {
  return reinterpret_cast<Stream>(static_cast<std::uintptr_t>((device + 1) * 4096 + 64));
}

constexpr unsigned kMuchShared = 96 << 10;

// All that a first call does.
Status first_call(Device*& device) {
  TW_TRY(Device::find(1, device));
  Kernel kernel = nullptr;
  TW_TRY(device->load("cubin", "name", kMuchShared, kernel));
  const Current current(*device);
  TW_TRY(current.status());
  TW_TRY(device->check_stream(stream_of(1)));
  bool captures = false;
  TW_TRY(device->is_capturing(stream_of(1), captures));
  const std::uint64_t a = 7, b = 9;
  return device->launch(kernel, {{3, 4, 5}, 128, kMuchShared}, stream_of(1), a, b);
}

TEST(CudaDevice, LoadsAndLaunches) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              Device* device = nullptr;
              const Status status = first_call(device);
              if (!status.ok()) return std::string(status.sentence);
              std::string said;
              const auto want = [&](bool holds, const char* what) {
                if (!holds) said += std::string(what) + "; ";
              };
              want(device->architecture() == 90 && device->index() == 1, "what it is");
              want(fake.launches == 1 && fake.grid[2] == 5 && fake.threads == 128, "grid");
              want(fake.arguments[0] == 7 && fake.arguments[1] == 9, "arguments");
              want(fake.loads == 1 && fake.loaded_relaxed == 1, "the capture mode while loading");
              want(fake.capture_mode == 0, "the capture mode afterwards");
              want(fake.shared_bytes == kMuchShared, "shared memory");
              want(fake.depth == 0, "the caller's context");
              return said;
            }),
            "");
}

TEST(CudaDevice, SaysWhatItIsNot) {
  const auto said = [](int index, int major) {
    return in_child([=](FakeCuda& fake) {
      fake.major = major;
      Device* device = nullptr;
      return std::string(Device::find(index, device).sentence);
    });
  };
  EXPECT_EQ(said(2, 9), "there is no CUDA device 2: this process sees 2.");
  EXPECT_EQ(said(-1, 9), "there is no CUDA device -1: this process sees 2.");
  EXPECT_EQ(said(64, 9), "there is no CUDA device 64: this process sees 2.");
  EXPECT_EQ(said(0, 7),
            "CUDA device 0 is of generation 7.0: 8.0 (Ampere) is the oldest that runs.");
}

TEST(CudaDevice, NoticesAnotherDevicesStream) {
  EXPECT_EQ(
      in_child([](FakeCuda& fake) {
        Device* device = nullptr;
        if (!Device::find(0, device).ok()) return std::string("refused");
        for (const std::uintptr_t usual : {0U, 1U, 2U})
          if (!device->check_stream(reinterpret_cast<Stream>(usual)).ok())
            return std::string("a default stream is refused");
        if (fake.asked_stream_zero) return std::string("stream 0 was asked");
        if (!device->check_stream(stream_of(0)).ok()) return std::string("its own is refused");
        return std::string(device->check_stream(stream_of(1)).sentence);
      }),
      "execution.stream belongs to another device or context than CUDA device 0: give a stream "
      "of that device's primary context.");
}

TEST(CudaDevice, IsOpenedAgainAfterAReset) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              Device *before = nullptr, *after = nullptr;
              if (!Device::find(0, before).ok() || !Device::find(0, before).ok())
                return std::string("refused");
              const int opened = fake.opened;
              ++fake.reset;
              if (!Device::find(0, after).ok()) return std::string("refused after a reset");
              return std::to_string(opened) + " " + std::to_string(fake.opened) +
                     (before == after ? " the same" : " another") + ", held " +
                     std::to_string(fake.retained);
            }),
            "1 2 the same, held 1");
}

// For the thread sanitizer, which reports races between the two threads.
TEST(CudaDevice, ServesOtherThreadsWhileOneNoticesAReset) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              Device* device = nullptr;
              if (!Device::find(0, device).ok()) return std::string("refused");
              std::atomic<bool> is_over{false};
              std::atomic<int> refused{0};
              std::thread other([&] {
                while (!is_over) {
                  Device* same = nullptr;
                  if (!Device::find_opened(0, same).ok() ||
                      !same->check_stream(stream_of(0)).ok() || !same->error_word())
                    ++refused;
                }
              });
              for (int n = 0; n < 200; ++n) {
                __atomic_add_fetch(&fake.reset, 1, __ATOMIC_RELAXED);
                if (!Device::find(0, device).ok()) ++refused;
              }
              is_over = true;
              other.join();
              return std::to_string(refused) + " refused, held " + std::to_string(fake.retained);
            }),
            "0 refused, held 1");
}

TEST(CudaDevice, IsOpenedOnceByManyThreads) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              std::atomic<int> good{0};
              in_threads(8, [&] {
                Device* device = nullptr;
                good += Device::find(0, device).ok();
              });
              return std::to_string(good.load()) + " " + std::to_string(fake.opened);
            }),
            "8 1");
}

// Each of the driver's calls fails in turn. Then there is a sentence, the caller's context and
// capture mode are as before, what was loaded is unloaded, and the next try works.
TEST(CudaDevice, EachCallMayFail) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              int failures = 0;
              for (int k = 0; k < 100; ++k) {
                fake.failing_call = k;
                ++fake.reset;  // so that it is opened again
                const int kept = fake.loads - fake.unloads, launched = fake.launches;
                Device* device = nullptr;
                const Status status = first_call(device);
                const std::string where = " at call " + std::to_string(k);
                if (fake.depth != 0) return "a context stays" + where;
                if (fake.capture_mode != 0) return "the capture mode stays" + where;
                if (fake.failing_call >= 0) return std::to_string(failures > 12) + " done";
                fake.failing_call = -1;
                // The run goes on if the driver cannot tell the context's id or the capture's
                // mode.
                if (status.ok()) continue;
                ++failures;
                if (fake.retained > 1) return "a context is held twice" + where;
                if (std::strlen(status.sentence) < 20) return "no sentence" + where;
                if (fake.launches != launched) return "launched all the same" + where;
                const bool loaded = fake.loads - fake.unloads > kept;
                if (loaded && fake.failing_call >= 0) return "a library stays" + where;
                if (!first_call(device).ok()) return "the next try fails" + where;
                if (fake.retained != 1) return "a context is not held once" + where;
              }
              return std::string("the calls have no end");
            }),
            "1 done");
}

TEST(CudaDevice, KnowsACapture) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              Device* device = nullptr;
              bool captures = true;
              if (!Device::find(0, device).ok()) return std::string("refused");
              const Current current(*device);
              if (!device->is_capturing(stream_of(0), captures).ok() || captures)
                return std::string("it captures");
              fake.captures = true;
              if (!device->is_capturing(stream_of(0), captures).ok() || !captures)
                return std::string("it does not capture");
              fake.captures = false;
              fake.failing_call = 0;
              fake.failure = kCaptureImplicit;
              if (!device->is_capturing(nullptr, captures).ok() || !captures)
                return std::string("906 is no capture");
              return std::string("good");
            }),
            "good");
}

TEST(CudaDevice, FaultsStayUntilTheyAreTaken) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              Device* device = nullptr;
              if (!Device::find(0, device).ok()) return std::string("refused");
              core::uint32 taken[3] = {9, 9, 9};
              if (!device->take_faults(taken[0]).ok()) return std::string("refused");
              fake.page[0] = 2;
              if (!device->take_faults(taken[1]).ok() || !device->take_faults(taken[2]).ok())
                return std::string("refused");
              return std::to_string(taken[0]) + std::to_string(taken[1]) + std::to_string(taken[2]);
            }),
            "020");
}

TEST(CudaDevice, WaitsForOneStream) {
  EXPECT_EQ(in_child([](FakeCuda& fake) {
              Device* device = nullptr;
              if (!Device::find(1, device).ok()) return std::string("refused");
              const Current current(*device);
              const int before = fake.calls;
              if (!device->wait(stream_of(1)).ok() || !device->wait(nullptr).ok())
                return std::string("it does not wait");
              if (fake.calls != before + 4 || fake.relaxed != 2)
                return std::string("it does more than to wait, or spoils a capture");
              fake.poison = kIllegalAddress;
              const Status status = device->wait(stream_of(1));
              return std::to_string(fake.waits) + " " + std::string(status.sentence).substr(0, 23);
            }),
            "3 waiting for the stream:");
}

}  // namespace
}  // namespace tilewise::cuda
