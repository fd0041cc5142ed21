#include "emulator/emulator.h"

#include <cstdlib>
#include <memory>
#include <utility>

#include "backends/cuda/device/emulated.h"
#include "emulator/block.h"

namespace tilewise::emulator {

thread_local Block* current = nullptr;

namespace {

void begin_thread() {
  (*current->kernel)();
  if (!current->self().copies.empty())
    current->refuse("a thread ends while copies that it began are on their way");
  current->self().wait = Wait::kForever;
  current->self().fiber.leave();
}

}  // namespace

bool Block::all(std::int32_t first, std::int32_t end, Wait wait) const {
  for (std::int32_t t = first; t < end; ++t)
    if (threads_[static_cast<std::size_t>(t)].wait != wait) return false;
  return true;
}

void Block::release(std::int32_t first, std::int32_t end) {
  for (std::int32_t t = first; t < end; ++t) threads_[static_cast<std::size_t>(t)].wait = {};
}

void Block::refuse(const std::string& what) {
  fault_ =
      what + ": thread " + std::to_string(running) + " of block " + std::to_string(index) + ".";
  self().wait = Wait::kForever;
  self().fiber.leave();
  std::abort();  // nobody enters it again
}

std::byte* Block::at(std::uint32_t byte, const char* word) {
  constexpr std::size_t kPiece = 16;
  if (byte % kPiece != 0) refuse(std::string(word) + " at an address that 16 does not divide");
  if (byte + kPiece > shared_bytes_) refuse(std::string(word) + " beyond shared memory");
  return shared + byte;
}

void Block::meet(const char* word) {
  self().word = word;
  self().wait = Wait::kForWarp;
  self().fiber.leave();
}

// Runs the threads of a warp as far as they come. Returns whether any ran.
bool Block::run_warp(std::int32_t first) {
  bool moved = false;
  do {
    for (std::int32_t t = first; t < first + kWarp; ++t) {
      Thread& thread = threads_[static_cast<std::size_t>(t)];
      if (thread.wait != Wait::kNothing) continue;
      running = t;
      thread.fiber.enter();
      if (!fault_.empty()) throw Fault(fault_);
      moved = true;
    }
    if (!all(first, first + kWarp, Wait::kForWarp)) return moved;
    check_words(first);
    release(first, first + kWarp);
  } while (true);
}

void Block::check_words(std::int32_t first) const {
  const char* word = threads_[static_cast<std::size_t>(first)].word;
  for (std::int32_t t = first; t < first + kWarp; ++t) {
    const char* other = threads_[static_cast<std::size_t>(t)].word;
    if (other == word || std::strcmp(other, word) == 0) continue;
    throw Fault("lanes of a warp come to different words: in block " + std::to_string(index) +
                ", thread " + std::to_string(first) + " to " + word + ", thread " +
                std::to_string(t) + " to " + other + ".");
  }
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
  architecture = launch.architecture;
  memory_.assign(launch.shared_bytes / sizeof(Line) + 1, Line());
  shared = memory_.front().bytes;
  shared_bytes_ = launch.shared_bytes;
  for (std::int32_t t = 0; t < launch.threads; ++t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    thread.wait = Wait::kNothing;
    thread.copies.clear();
    thread.groups = 0;
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

int32 architecture() {
  return current->architecture;
}

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

void refuse(const char* what) {
  current->refuse(what);
}

void block_barrier() {
  current->self().wait = emulator::Wait::kForBlock;
  current->self().fiber.leave();
}

uint64 exchange(uint64 brought, int32 lane) {
  emulator::Thread& self = current->self();
  const std::uint32_t turn = self.exchanges++ % 2;
  self.brought[turn] = brought;
  current->meet("a shuffle or barrier");
  return current->lane(lane).brought[turn];
}

}  // namespace tilewise::cuda::emulated
