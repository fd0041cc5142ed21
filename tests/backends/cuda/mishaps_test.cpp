// What goes wrong around a call of the C face, on a fake driver: no device or compiler, a poisoned
// context, forks, resets, and every single call of the driver.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "backends/cuda/compiler/pack.h"
#include "backends/cuda/driver/calls.h"
#include "backends/cuda/driver/device.h"
#include "fake_calls.h"

namespace tilewise::cuda {
namespace {

// An error that another kernel has left: every call on the GPU reports it, and calls on the
// processor still work.
TEST(CudaMishaps, SayThatTheContextIsPoisoned) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              fake.poison = kIllegalAddress;
              std::string all;
              for (void* stream : {calls.where.stream, static_cast<void*>(nullptr)}) {
                calls.where.stream = stream;
                for (const auto& status :
                     {forward(request, calls.where), append(calls.step(), calls.where)}) {
                  if (status.code != TW_FAILED) all += "not failed; ";
                  if (status.message.find("end the process") == std::string::npos)
                    all += status.message;
                }
              }
              const auto here = forward(request, Execution{});
              return all + said(here) + (fake.launches == 1 ? "" : "launched");
            }),
            "");
}

// If the device's context cannot be made current, calls do nothing in the one that is.
TEST(CudaMishaps, WorkInNoOtherContextThanTheDevices) {
  EXPECT_EQ(
      on_fake([](FakeCuda& fake, FakeCalls& calls) {
        const Request request = calls.attention();
        if (const auto status = forward(request, calls.where); !status.ok()) return said(status);
        int other = 0;
        fake.current = &other;
        fake.refuses_push = true;
        calls.where.stream = nullptr;
        const int seen = fake.launches + fake.loads + fake.waits;
        std::uint32_t faults = 0;
        void* memory = nullptr;
        char text[256] = "";
        tw_allocate(&calls.where.device, 8, &memory, text, sizeof text);
        std::string all;
        for (const std::string& sentence :
             {said(forward(request, calls.where)), said(append(calls.step(), calls.where)),
              said(prepare(calls.step(), calls.where)), said(take_faults(faults, calls.where)),
              said(tilewise::face::synchronize(calls.where.device, nullptr)), std::string(text)})
          if (sentence.find("making the device's context current: ") != 0)
            all += "'" + sentence + "' ";
        return all + (fake.launches + fake.loads + fake.waits == seen ? "" : "it worked");
      }),
      "");
}

// Some virtual GPUs read no memory of the host: then the library's error word is the device's.
TEST(CudaMishaps, KeepTheErrorWordOnADeviceThatSharesNoMemory) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              fake.register_result = kNotSupported;
              std::string all = said(forward(calls.attention(), calls.where));
              if (fake.launches != 1 || fake.allocations != 1) return all + "no word";
              std::uint32_t faults = 9;
              for (const std::uint32_t found : {0U, std::uint32_t{TW_FAULT_LENGTH}, 0U}) {
                if (found != 0) *static_cast<std::uint32_t*>(fake.allocated) = found;
                all += said(take_faults(faults, calls.where));
                all += std::to_string(faults) + " ";
              }
              ++fake.reset;
              all += said(forward(calls.attention(), calls.where));
              return all + std::to_string(fake.allocations);
            }),
            "0 " + std::to_string(TW_FAULT_LENGTH) + " 0 2");
}

// Another thread notices a reset, and cannot open the device again, while this one explains.
TEST(CudaMishaps, ExplainADeviceThatAnotherThreadHasLost) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              fake.on_context_id = [](FakeCuda& driver) {
                ++driver.reset;
                driver.retain_result = kOutOfMemory;
                std::thread([] {
                  Device* device = nullptr;
                  static_cast<void>(Device::find(0, device));
                }).join();
              };
              std::string text;
              const auto status = explain(TW_FORWARD, request, text, calls.where);
              if (fake.on_context_id) return std::string("it was not asked");
              fake.retain_result = 0;
              return said(status) + (text.find("sm_90, 132 multiprocessors") != std::string::npos
                                         ? said(forward(request, calls.where))
                                         : text);
            }),
            "");
}

// Memory that is freed through one device is forgotten for both: the driver goes by the address.
TEST(CudaMishaps, ForgetMemoryThatIsFreedByAnotherDevice) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              float* query = static_cast<float*>(request.query.data);
              fake.memory[0] = {query, query + 16, kDeviceMemory, 0, 0};
              std::string all = said(forward(request, calls.where));
              fake.memory[0].device = 1;
              all += said(forward(request, calls.where)) + "|";  // it is known
              const tw_device other{TW_CUDA, 1};
              void* memory = nullptr;
              char text[256] = "";
              tw_allocate(&other, 8, &memory, text, sizeof text);
              tw_free(&other, memory, text, sizeof text);
              return all + said(forward(request, calls.where));
            }),
            "|query lies on CUDA device 1 and the call runs on 0: copy it there.");
}

// The call writes the error word, so that may lie in no tensor or table of the call.
TEST(CudaMishaps, RefuseAnErrorWordInTheCallsOwnMemory) {
  EXPECT_EQ(
      on_fake([](FakeCuda& fake, FakeCalls& calls) {
        const Request request = calls.padded();
        std::string all;
        for (void* inside : {request.query.data, request.output.data, request.keys.used.data}) {
          calls.where.error = static_cast<std::uint32_t*>(inside);
          const std::string sentence = said(forward(request, calls.where));
          if (sentence.find("execution.error lies in a tensor or table") != 0) all += sentence;
        }
        if (fake.launches != 0) all += "launched";
        std::uint32_t apart = 0;
        calls.where.error = &apart;
        return all + said(forward(request, calls.where));
      }),
      "");
}

TEST(CudaMishaps, SayThatAForkCameTooLate) {
  EXPECT_EQ(on_fake([](FakeCuda&, FakeCalls& calls) {
              const Request request = calls.attention();
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              return in_child([&](FakeCuda&) {
                if (const auto here = forward(request, Execution{}); !here.ok()) return said(here);
                return said(forward(request, calls.where));
              });
            }),
            "No backend can run this. cuda: CUDA cannot be used in a process that was forked after "
            "its parent used CUDA: start workers by 'spawn'.");
}

TEST(CudaMishaps, WorkInAChildThatIsForkedBeforeTheFirst) {
  EXPECT_EQ(on_fake([](FakeCuda&, FakeCalls& calls) {
              const Request request = calls.attention();
              std::string all;
              for (int n = 0; n < 2; ++n)
                all += in_child([&](FakeCuda&) { return said(forward(request, calls.where)); });
              return all + said(forward(request, calls.where));
            }),
            "");
}

TEST(CudaMishaps, GoOnAfterTheDeviceWasReset) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              const int loads = fake.loads;
              ++fake.reset;
              const auto status = forward(request, calls.where);
              // A kernel survives that, as it belongs to no context.
              return said(status) +
                     (fake.loads == loads && fake.launches == 2 ? "" : "loaded again");
            }),
            "");
}

TEST(CudaMishaps, SayThatThereIsNoCompiler) {
  if (!built_in_pack().empty()) GTEST_SKIP() << "This library has the kernel in its pack.";
  const std::string text = on_fake([](FakeCuda& fake, FakeCalls& calls) {
    setenv("TILEWISE_NVRTC", "/no/such/libnvrtc.so.12", 1);
    const std::string all = said(forward(calls.attention(), calls.where));
    return fake.launches == 0 ? all : "launched";
  });
  EXPECT_NE(text.find("The library holds no kernel tilewise_plain_forward_float for sm_90. "
                      "TILEWISE_NVRTC names /no/such/libnvrtc.so.12, which is no file"),
            std::string::npos)
      << text;
}

TEST(CudaMishaps, SayWhyThereIsNoDevice) {
  const auto refusal = [](const std::function<void(FakeCuda&)>& spoil) {
    return on_fake([&](FakeCuda& fake, FakeCalls& calls) {
      spoil(fake);
      if (const auto here = forward(calls.attention(), Execution{}); !here.ok()) return said(here);
      return said(forward(calls.attention(), calls.where));
    });
  };
  EXPECT_EQ(refusal([](FakeCuda& f) { f.version = 11080; }),
            "No backend can run this. cuda: the NVIDIA driver is too old (CUDA 11.8): install "
            "525.60.13 (CUDA 12.0) or a newer one.");
  EXPECT_EQ(refusal([](FakeCuda& f) { f.major = 7; }),
            "No backend can run this. cuda: CUDA device 0 is of generation 7.0: 8.0 (Ampere) is "
            "the oldest that runs.");
  EXPECT_NE(refusal([](FakeCuda& f) { f.start_result = kNoDevice; }).find("CUDA_VISIBLE_DEVICES"),
            std::string::npos);
}

TEST(CudaMishaps, ADeviceThatDoesNotOpenHasFailed) {
  EXPECT_EQ(
      on_fake([](FakeCuda& fake, FakeCalls& calls) {
        constexpr int kRetain = 8;  // of the calls that open a device
        fake.failing_call = kRetain;
        const auto status = forward(calls.attention(), calls.where);
        return std::to_string(status.code) + " " + said(status);
      }),
      "3 using the device's primary context: CUDA_ERROR_OUT_OF_MEMORY (2): free memory of the "
      "device.");
}

// Each of the driver's calls in a run fails in turn. Then there is a sentence, the caller's context
// is as before, and the next run works.
TEST(CudaMishaps, EachCallOfTheDriverMayFail) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.padded();
              const AppendRequest step = calls.step();
              calls.where.device_tables = false;
              const auto run = [&] {
                auto status = prepare(TW_FORWARD, request, calls.where);
                if (status.ok()) status = forward(request, calls.where);
                if (status.ok()) status = append(step, calls.where);
                std::uint32_t faults = 0;
                if (status.ok()) status = take_faults(faults, calls.where);
                return status;
              };
              int failures = 0;
              for (int k = 0; k < 300; ++k) {
                calls.where.stream = k % 2 ? stream_of(0) : nullptr;
                ++fake.reset;
                fake.failing_call = k;
                const auto status = run();
                const std::string where = " at call " + std::to_string(k);
                if (fake.depth != 0 || fake.capture_mode != 0) return "something stays" + where;
                const bool is_over = fake.failing_call >= 0;
                fake.failing_call = -1;
                if (!status.ok()) ++failures;
                if (!status.ok() && status.message.size() < 20) return "no sentence" + where;
                if (const auto next = run(); !next.ok()) return "the next fails" + where;
                if (is_over) return std::to_string(failures > 15) + " done";
              }
              return std::string("the calls have no end");
            }),
            "1 done");
}

}  // namespace
}  // namespace tilewise::cuda
