// Calls of the C face on a fake driver: what is launched where and in which order, which memory is
// refused and by what sentence, and what a capture takes.
#include "backends/cuda/driver/calls.h"

#include <gtest/gtest.h>

#include <atomic>

#include "backends/cuda/driver/device.h"
#include "fake_calls.h"
#include "scratch_folder.h"

namespace tilewise::cuda {
namespace {

TEST(CudaCalls, LaunchOnTheCallersStream) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const auto status = forward(calls.attention(), calls.where);
              if (!status.ok()) return said(status);
              if (fake.stream != calls.where.stream) return std::string("another stream");
              if (fake.depth != 0) return std::string("a context stays");
              if (fake.waits != 0) return std::string("it waits");
              return launched_names(fake, 0);
            }),
            "forward_float");
}

TEST(CudaCalls, LaunchTheKernelsOfBackwardInTheirOrder) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const auto status = backward(calls.gradients(), calls.where);
              return status.ok() ? launched_names(fake, 0) : said(status);
            }),
            "backward_rows_float backward_keys_float backward_query_float");
}

TEST(CudaCalls, BringTablesOfTheHostFirst) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              calls.where.device_tables = false;
              auto status = forward(calls.padded(), calls.where);
              if (status.ok()) status = append(calls.step(), calls.where);
              return status.ok() ? launched_names(fake, 0) : said(status);
            }),
            "tables forward_float tables append rotary");
}

// The number of driver calls is a part of the cost of every call.
TEST(CudaCalls, AskTheDriverLittleOnceTheyAreWarm) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              // All memory counts as the device's, because the library asks about host memory in
              // each call.
              fake.memory[0] = {nullptr, reinterpret_cast<const void*>(UINTPTR_MAX), 2, 0, 0};
              const Request request = calls.attention();
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              static char others;
              fake.current = &others;
              const int before = fake.calls;
              if (!forward(request, calls.where).ok()) return std::string("refused");
              // Whether the context is the same one, whether one is current, whose the stream is,
              // and the launch.
              const int took = fake.calls - before;
              return took <= 4 ? "" : std::to_string(took) + " calls of the driver";
            }),
            "");
}

// take_faults asks once which context is current, and then makes its own current once.
TEST(CudaCalls, AskForTheContextOnceToTakeFaults) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              std::uint32_t faults = 0;
              if (!take_faults(faults, calls.where).ok()) return std::string("refused");
              calls.where.stream = nullptr;
              const int before = fake.calls, pushes = fake.pushes;
              if (!take_faults(faults, calls.where).ok()) return std::string("refused");
              // Whether the context is the same one, whether one is current, the push, whether the
              // stream is captured, the mode of captures, and the wait.
              return std::to_string(fake.calls - before) + " " +
                     std::to_string(fake.pushes - pushes) + " " + std::to_string(fake.depth);
            }),
            "6 1 0");
}

// explain uses the shared memory that the driver says, for GPUs differ in it.
TEST(CudaCalls, AreExplainedWithTheDevicesOwnSharedMemory) {
  const auto said_of = [](int bytes) {
    return on_fake([=](FakeCuda& fake, FakeCalls& calls) {
      fake.all_shared_bytes = bytes;
      std::string text;
      const auto status = explain(TW_FORWARD, calls.attention(), text, calls.where, TW_JSON);
      if (!status.ok()) return said(status);
      const std::size_t at = text.find("\"fast_memory_bytes\": ");
      return at == std::string::npos ? text : text.substr(at + 21, 6);
    });
  };
  EXPECT_EQ(said_of(100 << 10), "102400");
  EXPECT_EQ(said_of(228 << 10), "233472");
}

TEST(CudaCalls, AreRefusedUnderCaptureUntilTheyArePrepared) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              const AppendRequest step = calls.step();
              fake.captures = true;
              const std::string wanted =
                  "the stream is captured and this call's kernels are not loaded: call tw_prepare "
                  "for it before.";
              if (said(forward(request, calls.where)) != wanted) return std::string("forward runs");
              // Only one of the two kernels of append is loaded, so append must launch neither.
              RotaryRequest turn{
                  .input = step.query, .output = step.rotated_query, .rotation = *step.rotation};
              AppendRequest plain = step;
              plain.query = plain.rotated_query = {};
              if (!prepare(plain, calls.where).ok()) return std::string("append is not prepared");
              if (said(append(step, calls.where)) != wanted) return std::string("append runs");
              if (fake.launches != 0) return "launched: " + launched_names(fake, 0);
              if (fake.loads != fake.loaded_relaxed) return std::string("a load spoils a capture");
              for (const auto& status : {prepare(step, calls.where), prepare(turn, calls.where),
                                         prepare(TW_FORWARD, request, calls.where)})
                if (!status.ok()) return said(status);
              for (const auto& status : {forward(request, calls.where), append(step, calls.where)})
                if (!status.ok()) return said(status);
              return launched_names(fake, 0);
            }),
            "forward_float append rotary");
}

// Tables of the host travel as arguments of a kernel, which a graph keeps.
TEST(CudaCalls, MayBeCapturedWithTablesOfTheHost) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              calls.where.device_tables = false;
              const Request request = calls.padded();
              auto status = prepare(TW_FORWARD, request, calls.where);
              fake.captures = true;
              if (status.ok()) status = forward(request, calls.where);
              return status.ok() ? launched_names(fake, 0) : said(status);
            }),
            "tables forward_float");
}

// The first calls of all threads at once: one opens the device and loads the kernel.
TEST(CudaCalls, ServeManyThreadsAtOnce) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              std::atomic<int> good{0};
              in_threads(8, [&] {
                for (int n = 0; n < 20; ++n) good += forward(request, calls.where).ok();
              });
              return std::to_string(good.load()) + " " + std::to_string(fake.launches) + " " +
                     std::to_string(fake.opened);
            }),
            "160 160 1");
}

// Threads explain, prepare and call at the same time, so that they find, compile, keep and load the
// same kernels.
TEST(CudaCalls, ServeManyThreadsThatShareACache) {
  const ScratchFolder root;
  EXPECT_EQ(on_fake([&](FakeCuda& fake, FakeCalls& calls) {
              setenv("TILEWISE_CACHE", (root / "cache").c_str(), 1);
              forget_settings();
              const Request request = calls.attention();
              const AppendRequest step = calls.step();
              // Opens the device, so that the threads do not wait for each other there.
              Device* device = nullptr;
              if (!Device::find(0, device).ok()) return std::string("refused");
              std::atomic<int> good{0};
              in_threads(6, [&] {
                std::string text;
                std::uint32_t faults = 0;
                good += explain(TW_FORWARD, request, text, calls.where).ok();
                good += prepare(step, calls.where).ok() + append(step, calls.where).ok();
                good += forward(request, calls.where).ok();
                good += take_faults(faults, calls.where).ok();
              });
              return std::to_string(good.load()) + " " + std::to_string(fake.launches);
            }),
            "30 18");
}

// Whether a call makes the device's context current and then takes it away. With no current
// context: always, because a launch would leave one current. With another one: only for the default
// stream, which belongs to the current context.
TEST(CudaCalls, GiveTheCallersContextBack) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              std::string all;
              static char others;
              if (!forward(request, calls.where).ok()) return std::string("refused");
              for (void* context : {static_cast<void*>(nullptr), static_cast<void*>(&others)}) {
                fake.current = context;
                for (void* stream : {stream_of(0), static_cast<void*>(nullptr)}) {
                  calls.where.stream = stream;
                  const int before = fake.pushes;
                  if (!forward(request, calls.where).ok()) return std::string("refused");
                  all += std::to_string(fake.pushes - before);
                  if (fake.depth != 0) return std::string("a context stays");
                }
              }
              return all;
            }),
            "1101");
}

// Calls on two devices while the first one's context is current. Each device loads kernels of its
// own. A stream has its device, but the default stream is the current context's, so a call on the
// second device makes that context current.
TEST(CudaCalls, RunOnTwoDevices) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              const Request request = calls.attention();
              const auto* const first = reinterpret_cast<const void*>(std::uintptr_t{4096});
              const auto* const second = reinterpret_cast<const void*>(std::uintptr_t{2 * 4096});
              fake.current = const_cast<void*>(first);
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              const int loads = fake.loads;
              calls.where.device.index = 1;
              calls.where.stream = stream_of(1);
              if (const auto status = forward(request, calls.where); !status.ok())
                return said(status);
              if (fake.loads != 2 * loads) return std::string("no kernel of the second's own");
              if (fake.stream != stream_of(1)) return std::string("another stream");
              const int pushes = fake.pushes;
              if (!forward(request, calls.where).ok()) return std::string("refused");
              if (fake.pushes != pushes) return std::string("pushed for a stream of its own");
              calls.where.stream = nullptr;
              if (!forward(request, calls.where).ok()) return std::string("refused by default");
              if (fake.pushes != pushes + 1 || fake.pushed != second || fake.depth != 0)
                return std::string("the default stream of another context");
              calls.where.device.index = 0;
              if (!forward(request, calls.where).ok()) return std::string("the first is refused");
              return std::to_string(fake.launches) + (fake.loads == 2 * loads ? "" : " loaded");
            }),
            "5");
}

TEST(CudaCalls, SayWhichMemoryIsWrong) {
  EXPECT_EQ(
      on_fake([](FakeCuda& fake, FakeCalls& calls) {
        const Request request = calls.padded();
        const auto lies = [&](const tilewise::face::Tensor& tensor, int kind, int device,
                              int managed) {
          const auto* begin = static_cast<const char*>(tensor.data);
          fake.memory[0] = {begin, begin + 16, kind, device, managed};
          return said(forward(request, calls.where));
        };
        // An address that was found to be here is not asked about again.
        std::string all = lies(request.keys.used, 0, -2, 0) + "\n";
        all += lies(request.value, 0, -2, 0) + "\n";
        all += lies(request.output, 2, 1, 0) + "\n";
        if (fake.launches != 0) all += "launched\n";
        all += lies(request.value, 2, 0, 0) + lies(request.value, 2, 1, 1);  // both may be read
        fake.memory[0] = {};
        calls.where.device_tables = false;
        all += lies(request.keys.used, 2, 0, 0) + "\n";
        all += lies(request.keys.used, 2, 0, 1) + lies(request.keys.used, 0, -2, 0);
        const auto* workspace = static_cast<const char*>(calls.where.workspace);
        fake.memory[0] = {workspace, workspace + 16, 0, -2, 0};
        return all + said(forward(request, calls.where));
      }),
      "keys.used is no memory that CUDA device 0 reads: it lies on the host, or was freed; tables "
      "alone may lie there, with execution.device_tables = 0.\n"
      "value is no memory that CUDA device 0 reads: it lies on the host, or was freed; tables "
      "alone "
      "may lie there, with execution.device_tables = 0.\n"
      "output lies on CUDA device 1 and the call runs on 0: copy it there.\n"
      "keys.used lies on a device, and tables of this call are read on the host: set "
      "execution.device_tables where all of them lie on CUDA device 0.\n"
      "The workspace is no memory that CUDA device 0 reads: it lies on the host, or was freed; "
      "tables alone may lie there, with execution.device_tables = 0.");
}

TEST(CudaCalls, SayThatTheErrorWordIsWrong) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              static std::uint32_t word = 0;
              calls.where.error = &word;
              fake.memory[0] = {&word, &word + 1, 0, -2, 0};
              return said(forward(calls.attention(), calls.where)).substr(0, 28);
            }),
            "execution.error is no memory");
}

TEST(CudaCalls, SayThatTheStreamIsAnothers) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              calls.where.stream = stream_of(1);
              const std::string all = said(forward(calls.attention(), calls.where));
              return fake.launches == 0 ? all : "launched";
            }),
            "execution.stream belongs to another device or context than CUDA device 0: give a "
            "stream of that device's primary context.");
}

TEST(CudaCalls, LeaveFaultsThatAreTakenOnce) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              std::uint32_t faults = 7;
              auto status = take_faults(faults, calls.where);
              if (!status.ok() || faults != 0) return "at first " + said(status);
              if (fake.waits != 1 || fake.waited != calls.where.stream)
                return std::string("it does not wait for the stream");
              fake.page[0] = TW_FAULT_TABLE | TW_FAULT_LENGTH;
              fake.captures = true;
              faults = 99;
              const std::string refused = said(take_faults(faults, calls.where));
              if (faults != 99 || fake.waits != 1) return std::string("it spoils a capture");
              fake.captures = false;
              fake.poison = kIllegalAddress;
              if (take_faults(faults, calls.where).code != TW_FAILED || faults != 99)
                return std::string("a fault of the device is missed");
              fake.poison = 0;
              status = take_faults(faults, calls.where);
              const std::uint32_t first = faults;
              status = take_faults(faults, calls.where);
              return refused + std::to_string(first) + std::to_string(faults);
            }),
            "execution.stream is captured, or is the default stream while another one is, and what "
            "will be reported is known when it has run: take the faults after a replay.30");
}

TEST(CudaCalls, LeaveNoFaultsOnTheProcessor) {
  std::uint32_t faults = 7;
  EXPECT_TRUE(take_faults(faults).ok());
  EXPECT_EQ(faults, 0u);
  char message[128];
  EXPECT_EQ(tw_take_faults(nullptr, nullptr, message, sizeof message), TW_INVALID);
  EXPECT_STREQ(message, "faults is null: give a place for the answer.");
}

}  // namespace
}  // namespace tilewise::cuda
