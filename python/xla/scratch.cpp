#include "python/xla/scratch.h"

#include <cstdint>
#include <cstdlib>

#include "python/xla/failure.h"

namespace tilewise::xla {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kMostKept = std::size_t{1} << 24;  // in each of XLA's threads

struct Block {
  void* data = nullptr;
  std::size_t bytes = 0;
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { std::free(data); }
};
thread_local Block kept_block;

void* allocate(std::size_t bytes) {
  return std::aligned_alloc(kLine, (bytes + kLine - 1) / kLine * kLine);
}

}  // namespace

Scratch::~Scratch() {
  std::free(large_);
  if (device_ == nullptr) return;
  ffi::Free release = {sizeof release, nullptr, frame_.context, device_bytes_, device_};
  forget(frame_, frame_.api->free(&release));
}

ffi::Error* Scratch::take_on_host(std::size_t bytes, tw_execution& execution) {
  execution.workspace_bytes = bytes;
  if (bytes == 0) return nullptr;
  if (bytes > kMostKept) {
    execution.workspace = large_ = allocate(bytes);
  } else {
    if (kept_block.bytes < bytes) {
      std::free(kept_block.data);
      kept_block.data = allocate(bytes);
      kept_block.bytes = kept_block.data != nullptr ? bytes : 0;
    }
    execution.workspace = kept_block.data;
  }
  if (execution.workspace != nullptr) return nullptr;
  return fail(frame_, ffi::kResourceExhausted, "There is no memory for attention's workspace.");
}

ffi::Error* Scratch::take_on_device(std::size_t bytes, tw_execution& execution) {
  execution.workspace_bytes = bytes;
  if (bytes == 0) return nullptr;
  // XLA promises at most 16 bytes of alignment, although its blocks have 256.
  constexpr std::size_t kMostAlignment = 16;
  const std::size_t whole = bytes + kLine;
  ffi::Allocate wanted = {sizeof wanted, nullptr, frame_.context, whole, kMostAlignment, nullptr};
  if (ffi::Error* error = frame_.api->allocate(&wanted))
    return fail_with(frame_, error, "There is no memory for attention's workspace on the GPU.");
  device_ = wanted.data;
  device_bytes_ = whole;
  const auto address = reinterpret_cast<std::uintptr_t>(device_);
  execution.workspace = static_cast<char*>(device_) + (kLine - address % kLine) % kLine;
  return nullptr;
}

}  // namespace tilewise::xla
