// Devices and memory as the C face shows them: the processor's, and every wrong question.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "fake_device.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

constexpr tw_device kHere{TW_CPU, 0};

TEST(Memory, OfTheProcessorIsTheHosts) {
  std::int32_t count = 0;
  ASSERT_TRUE(device_count(TW_CPU, count).ok());
  EXPECT_EQ(count, 1);
  tw_device_facts facts{};
  ASSERT_TRUE(describe(kHere, facts).ok());
  EXPECT_STREQ(facts.name, "the processor");
  EXPECT_GT(facts.processors, 0);

  const std::array<double, 3> given{1, 2, 3};
  std::array<double, 3> back{};
  DeviceMemory memory;
  ASSERT_TRUE(memory.allocate(kHere, sizeof given).ok());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 64, 0u);
  ASSERT_TRUE(copy(kHere, memory.data(), given.data(), sizeof given).ok());
  ASSERT_TRUE(copy(kHere, back.data(), memory.data(), sizeof given).ok());
  ASSERT_TRUE(synchronize(kHere).ok());
  EXPECT_EQ(back, given);
  EXPECT_EQ(memory.device().kind, TW_CPU);
}

TEST(Memory, OfNoBytesIsThereAndOfTooManyIsNot) {
  void* memory = nullptr;
  EXPECT_EQ(tw_allocate(nullptr, 0, &memory, nullptr, 0), TW_OK);
  EXPECT_NE(memory, nullptr);
  EXPECT_EQ(tw_free(nullptr, memory, nullptr, 0), TW_OK);
  EXPECT_EQ(tw_free(nullptr, nullptr, nullptr, 0), TW_OK);
  char message[512] = "";
  EXPECT_EQ(tw_allocate(nullptr, SIZE_MAX, &memory, message, sizeof message), TW_FAILED);
  EXPECT_EQ(memory, nullptr);
  EXPECT_NE(std::string(message).find("There is no memory for 18446744073709551615 bytes."),
            std::string::npos);
}

TEST(Memory, WrongQuestionsGetASentence) {
  char message[512] = "";
  const auto said = [&](tw_status status) {
    EXPECT_EQ(status, TW_INVALID);
    return std::string(message);
  };
  std::int32_t count = 5;
  EXPECT_EQ(said(tw_device_count(2, &count, message, sizeof message)),
            "The kind of device is 2: give TW_CPU (0) or TW_CUDA (1).");
  EXPECT_EQ(count, 0);
  EXPECT_EQ(said(tw_device_count(TW_CPU, nullptr, message, sizeof message)),
            "count is null: give a place for the answer.");
  EXPECT_EQ(said(tw_allocate(nullptr, 4, nullptr, message, sizeof message)),
            "memory is null: give a place for the answer.");
  EXPECT_EQ(said(tw_copy(nullptr, nullptr, message, 4, nullptr, message, sizeof message)),
            "to is null: give memory of 4 bytes.");
  EXPECT_EQ(said(tw_device_describe(nullptr, nullptr, message, sizeof message)),
            "facts is null: give a place for the answer.");
  tw_device_facts facts{};
  facts.size = 3;
  EXPECT_NE(said(tw_device_describe(nullptr, &facts, message, sizeof message)).find("size 3"),
            std::string::npos);
  const tw_device before{TW_CPU, -1};
  EXPECT_EQ(said(tw_synchronize(&before, nullptr, message, sizeof message)),
            "The device's index is -1: it must not be negative.");
}

// A caller of a later header, whose struct has members that this library does not know.
TEST(Memory, FactsOfANewerHeaderKeepTheirSize) {
  struct {
    tw_device_facts known;
    std::uint64_t later;
  } newer{};
  newer.known.size = sizeof newer;
  ASSERT_EQ(tw_device_describe(nullptr, &newer.known, nullptr, 0), TW_OK);
  EXPECT_EQ(newer.known.size, sizeof newer);
  EXPECT_EQ(newer.later, 0u);
}

TEST(Memory, NeedsABackendThatHasSome) {
  const FakeDevice without;  // and the list has no other
  std::int32_t count = 5;
  const Status status = device_count(TW_CUDA, count);
  EXPECT_EQ(status.code, TW_UNSUPPORTED);
  EXPECT_EQ(status.message, "This library has no backend for CUDA devices.");
}

TEST(Backends, SayWhereTheyRun) {
  int processors = 0, others = 0;
  for (std::int32_t i = 0; tw_backend_name(i) != nullptr; ++i) {
    const std::string name = tw_backend_name(i);
    EXPECT_EQ(tw_backend_device(i), name == "cuda" ? TW_CUDA : TW_CPU) << name;
    ++(tw_backend_device(i) == TW_CPU ? processors : others);
  }
  EXPECT_EQ(processors, 2);
  EXPECT_EQ(others, 1);
  EXPECT_EQ(tw_backend_device(-1), -1);
  EXPECT_EQ(tw_backend_device(3), -1);
}

}  // namespace
}  // namespace tilewise
