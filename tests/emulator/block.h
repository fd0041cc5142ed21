// The block that runs: its threads, where each of them waits, and its shared memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "emulator/emulator.h"
#include "emulator/fiber.h"

namespace tilewise::emulator {

inline constexpr std::int32_t kWarp = 32;

enum class Wait { kNothing, kForBlock, kForWarp, kForever };

// 16 bytes on their way to shared memory.
struct Copy {
  std::byte* to;
  const void* from;
  std::int32_t bytes;   // of the 16; the others become zeros
  std::uint32_t group;  // how many its thread had committed before
};

struct Thread {
  Fiber fiber;
  Wait wait = Wait::kNothing;
  const char* word = "";  // the operation at which it waits for its warp
  // What the thread brought to its last two exchanges. It may come to the next exchange before the
  // others have read what it brought to this one, but not to the one after that.
  std::uint64_t brought[2] = {};
  std::uint32_t exchanges = 0;
  std::vector<Copy> copies;
  std::uint32_t groups = 0;  // of copies, committed
};

class Block {
 public:
  void run(const Launch& launch, std::int64_t number, const std::function<void()>& body);

  Thread& self() { return threads_[static_cast<std::size_t>(running)]; }
  Thread& lane(std::int32_t n) {
    return threads_[static_cast<std::size_t>(running / kWarp * kWarp + n)];
  }

  // Waits until all threads of the warp have come to the same operation, `word`. Lane 0 goes on
  // first, so the others find done what it does next.
  void meet(const char* word);

  // 16 bytes of shared memory, for `word`.
  std::byte* at(std::uint32_t byte, const char* word);

  // Called by a thread that broke a rule. The thread ends here, and `run` throws a Fault.
  [[noreturn]] void refuse(const std::string& what);

  const std::function<void()>* kernel = nullptr;
  std::int64_t index = 0, blocks = 0;
  std::int32_t architecture = 0;
  std::int32_t running = 0;
  std::byte* shared = nullptr;

 private:
  // Shared memory begins as aligned as on a device, full of NaNs.
  struct alignas(128) Line {
    Line() { std::memset(bytes, 0xFF, sizeof bytes); }
    std::byte bytes[128];
  };

  bool all(std::int32_t first, std::int32_t end, Wait wait) const;
  void release(std::int32_t first, std::int32_t end);
  bool run_warp(std::int32_t first);
  void check_words(std::int32_t first) const;
  [[noreturn]] void complain(std::int32_t count) const;

  std::vector<Thread> threads_;
  std::vector<Line> memory_;
  std::size_t shared_bytes_ = 0;
  std::string fault_;
};

// The block that the calling thread of the processor runs.
extern thread_local Block* current;

}  // namespace tilewise::emulator
