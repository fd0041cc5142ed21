// Devices and their memory through the C face, over a driver that drives nothing.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fake_calls.h"
#include "in_child.h"
#include "plan/backend.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cuda {
namespace {

constexpr tw_device kFirst{TW_CUDA, 0}, kSecond{TW_CUDA, 1};

// In a child with the library's own backends: this program's first ones are the emulator's.
std::string said(const std::function<std::string(FakeCuda&)>& body) {
  return in_child([&](FakeCuda& fake) {
    replace_backends({});
    return body(fake);
  });
}

face::Status counted(std::int32_t& count) {
  return face::device_count(TW_CUDA, count);
}

TEST(CudaMemory, CountsAndDescribesWhatThereIs) {
  EXPECT_EQ(said([](FakeCuda& fake) {
              std::int32_t count = 0;
              tw_device_facts facts{};
              if (!counted(count)) return std::string("not counted");
              if (!face::describe(kSecond, facts)) return std::string("not described");
              if (fake.opened != 0) return std::string("a context was made only to ask");
              return std::to_string(count) + " " + facts.name + " " +
                     std::to_string(facts.architecture) + " " + std::to_string(facts.processors) +
                     " " + std::to_string(facts.clock_khz) + " " + std::to_string(facts.driver) +
                     " " + std::to_string(facts.memory_bytes >> 30);
            }),
            "2 fake 90 132 1980000 13000 128");
}

TEST(CudaMemory, SaysWhyThereIsNone) {
  const auto why = [](const std::function<void(FakeCuda&)>& spoil) {
    return said([&](FakeCuda& fake) {
      spoil(fake);
      std::int32_t count = 7;
      const face::Status status = counted(count);
      if (status.code != TW_UNSUPPORTED || count != 0) return std::string("it is no refusal");
      return status.message;
    });
  };
  EXPECT_NE(why([](FakeCuda& f) { f.start_result = 100; }).find("CUDA_VISIBLE_DEVICES"),
            std::string::npos);
  EXPECT_NE(why([](FakeCuda& f) { f.version = 11080; }).find("too old (CUDA 11.8)"),
            std::string::npos);
  EXPECT_EQ(why([](FakeCuda& f) { f.major = 7; }),
            "CUDA device 0 is of generation 7.0: 8.0 (Ampere) is the oldest that runs.");
  EXPECT_EQ(why([](FakeCuda& f) { f.devices = 0; }),
            "there is no CUDA device 0: this process sees 0.");
}

// Whichever of the driver's calls fails, device_count and describe fail with its error.
TEST(CudaMemory, SaysSoOfADriverThatIsSick) {
  for (int call = 0; call < 4; ++call) {
    EXPECT_EQ(said([=](FakeCuda& fake) {
                std::int32_t count = 7;
                tw_device_facts facts{};
                if (!counted(count)) return std::string("refused");
                fake.devices = 1;
                fake.failing_call = call;
                fake.failure = 719;
                const face::Status status =
                    call < 2 ? counted(count) : face::describe(kFirst, facts);
                return std::to_string(status.code) +
                       (status.message.find("(719)") == std::string::npos ? " why?" : "");
              }),
              std::to_string(TW_UNSUPPORTED))
        << call;
  }
}

// The library asks again about an address that was freed, because it may be other memory by then.
TEST(CudaMemory, IsAskedForAgainWhenItWasFreed) {
  EXPECT_EQ(on_fake([](FakeCuda& fake, FakeCalls& calls) {
              void* memory = nullptr;
              tw_allocate(&kFirst, 4096, &memory, nullptr, 0);
              auto* bytes = static_cast<char*>(memory);
              fake.memory[0] = {bytes, bytes + 4096, 2, 0, 0};
              Request request = calls.attention();
              request.query.data = bytes + 1024;
              if (const auto status = forward(request, calls.where); !status.ok())
                return status.message;
              tw_free(&kFirst, memory, nullptr, 0);
              fake.memory[0].kind = 0;
              return forward(request, calls.where).message.substr(0, 45);
            }),
            "query is no memory that CUDA device 0 reads: ");
}

TEST(CudaMemory, RefusesADeviceThatCannotBeUsed) {
  EXPECT_EQ(said([](FakeCuda&) {
              tw_device_facts facts{};
              face::DeviceMemory memory;
              const std::string why = face::describe({TW_CUDA, 2}, facts).message;
              const face::Status again = memory.allocate({TW_CUDA, 2}, 16);
              return again.message == why && memory.data() == nullptr ? why : again.message;
            }),
            "there is no CUDA device 2: this process sees 2.");
}

TEST(CudaMemory, GoesThereAndBack) {
  EXPECT_EQ(said([](FakeCuda& fake) {
              const std::array<int, 4> given{1, 2, 3, 4};
              std::array<int, 4> back{};
              {
                face::DeviceMemory there, empty;
                if (!there.allocate(kFirst, sizeof given) || !empty.allocate(kFirst, 0))
                  return std::string("no memory");
                if (empty.data() == nullptr) return std::string("none of no bytes");
                void* stream = nullptr;
                if (!face::copy(kFirst, there.data(), given.data(), sizeof given, stream) ||
                    !face::copy(kFirst, back.data(), there.data(), sizeof back, stream) ||
                    !face::copy(kFirst, nullptr, nullptr, 0, stream) ||
                    !face::synchronize(kFirst, stream))
                  return std::string("not copied");
                face::DeviceMemory moved = std::move(there);
                there = std::move(moved);
                if (there.bytes() != sizeof given) return std::string("its size is lost");
              }
              return std::string(back == given ? "same" : "other") + " " +
                     std::to_string(fake.allocations) + " " + std::to_string(fake.frees) + " " +
                     std::to_string(fake.depth);
            }),
            "same 2 2 0");
}

// Allocating and freeing would spoil a capture in the usual mode, so the library relaxes the mode
// for them.
TEST(CudaMemory, IsTakenAndGivenBackWhileAStreamIsCaptured) {
  EXPECT_EQ(
      said([](FakeCuda& fake) {
        void* memory = nullptr;
        fake.captures = true;
        if (tw_allocate(&kFirst, 4, &memory, nullptr, 0) != TW_OK) return std::string("no memory");
        if (tw_free(&kFirst, memory, nullptr, 0) != TW_OK) return std::string("not freed");
        char text[256] = "";
        if (tw_synchronize(&kFirst, nullptr, text, sizeof text) != TW_INVALID || fake.waits)
          return std::string("it waits for what is captured");
        return text + std::string(" ") + std::to_string(fake.allocations + fake.frees) +
               " calls, " + std::to_string(fake.relaxed) + " relaxed, now " +
               std::to_string(fake.capture_mode);
      }),
      "the stream is captured, and to wait for it would spoil that: end the capture, and wait "
      "for a replay. 2 calls, 2 relaxed, now 0");
}

TEST(CudaMemory, FollowsTheCallersStream) {
  EXPECT_EQ(said([](FakeCuda& fake) {
              int value = 3, other = 0;
              // The fake driver reads a stream's device from its handle: 1 is the second.
              void* stream = reinterpret_cast<void*>(std::uintptr_t{2 * 4096 + 96});
              if (!face::copy(kSecond, &other, &value, sizeof value, stream) ||
                  !face::synchronize(kSecond, stream))
                return std::string("refused");
              if (fake.copied_on != stream || fake.waited != stream)
                return std::string("another stream");
              return face::synchronize(kFirst, stream).message;
            }),
            "execution.stream belongs to another device or context than CUDA device 0: give a "
            "stream of that device's primary context.");
}

// Each of the driver's calls fails in turn. There is a sentence, and the caller's context stays.
TEST(CudaMemory, EachCallMayFail) {
  EXPECT_EQ(said([](FakeCuda& fake) {
              int value = 3;
              void* memory = nullptr;
              if (tw_allocate(&kFirst, 4, &memory, nullptr, 0) != TW_OK)
                return std::string("no memory");
              const std::vector<std::function<tw_status(char*, std::size_t)>> all{
                  [&](char* text, std::size_t bytes) {
                    void* more = nullptr;
                    return tw_allocate(&kFirst, 4, &more, text, bytes);
                  },
                  [&](char* text, std::size_t bytes) {
                    return tw_copy(&kFirst, memory, &value, 4, nullptr, text, bytes);
                  },
                  [&](char* text, std::size_t bytes) {
                    return tw_synchronize(&kFirst, nullptr, text, bytes);
                  },
                  [&](char* text, std::size_t bytes) {
                    void* own = nullptr;
                    const int failing = std::exchange(fake.failing_call, -1);
                    tw_allocate(&kFirst, 4, &own, nullptr, 0);
                    fake.failing_call = failing;
                    return tw_free(&kFirst, own, text, bytes);
                  }};
              std::string all_said;
              for (const auto& each : all) {
                int failures = 0;
                char text[512] = "";
                std::string last;
                for (int call = 0; call < 12; ++call) {
                  fake.failing_call = call;
                  if (each(text, sizeof text) == TW_FAILED) {
                    ++failures;
                    last = text;
                  }
                  const bool is_over = fake.failing_call >= 0;
                  fake.failing_call = -1;
                  if (fake.depth != 0) return std::string("a context stays");
                  if (is_over) break;
                }
                if (failures == 0) return "nothing failed: " + all_said;
                all_said += last.substr(0, last.find(':')) + "; ";
              }
              return all_said;
            }),
            "allocating 4 bytes on the device; copying memory of the device; waiting for the "
            "stream; freeing memory of the device; ");
}

}  // namespace
}  // namespace tilewise::cuda
