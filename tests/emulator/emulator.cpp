#include "emulator/emulator.h"

#include <memory>
#include <utility>
#include <vector>

#include "backends/cuda/device/emulated.h"
#include "emulator/fiber.h"

namespace tilewise::emulator {
namespace {

constexpr std::int32_t kWarp = 32;

enum class Wait { kNothing, kForBlock, kForWarp, kForever };

struct Thread {
  Fiber fiber;
  Wait wait = Wait::kNothing;
  // What it brought to its last two exchanges. It may come to the next one before the others have
  // read what it brought to this one, but not to the one after that.
  std::uint64_t brought[2] = {};
  std::uint32_t exchanges = 0;
};

class Block {
 public:
  void run(const Launch& launch, std::int64_t index, const std::function<void()>& kernel);

  Thread& self() { return threads_[static_cast<std::size_t>(running)]; }
  Thread& lane(std::int32_t n) {
    return threads_[static_cast<std::size_t>(running / kWarp * kWarp + n)];
  }

  const std::function<void()>* kernel = nullptr;
  std::int64_t index = 0, blocks = 0;
  std::int32_t running = 0;
  std::byte* shared = nullptr;

 private:
  bool all(std::int32_t first, std::int32_t end, Wait wait) const {
    for (std::int32_t t = first; t < end; ++t)
      if (threads_[static_cast<std::size_t>(t)].wait != wait) return false;
    return true;
  }
  void release(std::int32_t first, std::int32_t end) {
    for (std::int32_t t = first; t < end; ++t) threads_[static_cast<std::size_t>(t)].wait = {};
  }
  bool run_warp(std::int32_t first);
  [[noreturn]] void complain(std::int32_t count) const;

  std::vector<Thread> threads_;
};

thread_local Block* current = nullptr;

void begin_thread() {
  (*current->kernel)();
  current->self().wait = Wait::kForever;
  current->self().fiber.leave();
}

// Runs the threads of a warp as far as they come. Whether any of them moved.
bool Block::run_warp(std::int32_t first) {
  bool moved = false;
  do {
    for (std::int32_t t = first; t < first + kWarp; ++t) {
      Thread& thread = threads_[static_cast<std::size_t>(t)];
      if (thread.wait != Wait::kNothing) continue;
      running = t;
      thread.fiber.enter();
      moved = true;
    }
    if (!all(first, first + kWarp, Wait::kForWarp)) return moved;
    release(first, first + kWarp);
  } while (true);
}

void Block::complain(std::int32_t count) const {
  std::int32_t waiting[4] = {}, first[4] = {};
  for (std::int32_t t = count - 1; t >= 0; --t) {
    const auto wait = static_cast<std::size_t>(threads_[static_cast<std::size_t>(t)].wait);
    ++waiting[wait];
    first[wait] = t;
  }
  const auto told = [&](Wait wait, const char* what) {
    const auto n = static_cast<std::size_t>(wait);
    if (waiting[n] == 0) return std::string();
    return ", " + std::to_string(waiting[n]) + " of its threads " + what + " (the first is " +
           std::to_string(first[n]) + ")";
  };
  throw Fault("not all threads reach a barrier: in block " + std::to_string(index) +
              told(Wait::kForBlock, "wait for the block") +
              told(Wait::kForWarp, "wait for their warp") + told(Wait::kForever, "have ended") +
              ".");
}

void Block::run(const Launch& launch, std::int64_t number, const std::function<void()>& body) {
  if (threads_.size() < static_cast<std::size_t>(launch.threads))
    threads_ = std::vector<Thread>(static_cast<std::size_t>(launch.threads));
  kernel = &body;
  index = number;
  blocks = launch.blocks;
  std::vector<std::uint64_t> memory(launch.shared_bytes / 8 + 2, ~std::uint64_t{0});
  shared = reinterpret_cast<std::byte*>(memory.data());
  for (std::int32_t t = 0; t < launch.threads; ++t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    thread.wait = Wait::kNothing;
    thread.fiber.start(begin_thread);
  }
  const std::int32_t warps = launch.threads / kWarp;
  while (!all(0, launch.threads, Wait::kForever)) {
    bool moved = false;
    for (std::int32_t w = 0; w < warps; ++w)
      moved = run_warp((index % 2 == 0 ? w : warps - 1 - w) * kWarp) || moved;
    if (all(0, launch.threads, Wait::kForBlock)) {
      release(0, launch.threads);
    } else if (!moved) {
      complain(launch.threads);
    }
  }
}

}  // namespace

void run(const Launch& launch, const std::function<void()>& kernel) {
  if (launch.threads <= 0 || launch.threads % kWarp != 0 || launch.threads > 1024)
    throw Fault("a block has " + std::to_string(launch.threads) +
                " threads; give a multiple of 32, at most 1024.");
  // Stacks are kept for the next launch. A fault leaves fibers half done, and theirs are not.
  thread_local std::unique_ptr<Block> kept;
  std::unique_ptr<Block> block = kept ? std::move(kept) : std::make_unique<Block>();
  current = block.get();
  for (std::int64_t n = 0; n < launch.blocks; ++n) block->run(launch, n, kernel);
  current = nullptr;
  kept = std::move(block);
}

}  // namespace tilewise::emulator

namespace tilewise::cuda::emulated {

using emulator::current;

int32 thread_index() {
  return current->running;
}

int64 block_index() {
  return current->index;
}

int64 block_count() {
  return current->blocks;
}

void* shared_memory() {
  return current->shared;
}

void block_barrier() {
  current->self().wait = emulator::Wait::kForBlock;
  current->self().fiber.leave();
}

uint64 exchange(uint64 brought, int32 lane) {
  emulator::Thread& self = current->self();
  const std::uint32_t turn = self.exchanges++ % 2;
  self.brought[turn] = brought;
  self.wait = emulator::Wait::kForWarp;
  self.fiber.leave();
  return current->lane(lane).brought[turn];
}

}  // namespace tilewise::cuda::emulated
