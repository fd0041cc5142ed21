#include "python/xla/scratch.h"

#include <cstdlib>

namespace tilewise::xla {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kMostKept = std::size_t{1} << 24;  // XLA has a thread for each processor

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

bool is_done(const ffi::Api& api, ffi::Error* error) {
  if (error == nullptr) return true;
  ffi::DestroyError destroy = {sizeof destroy, nullptr, error};
  api.destroy_error(&destroy);
  return false;
}

Scratch::~Scratch() {
  std::free(large_);
  if (device_ == nullptr) return;
  ffi::Free release = {sizeof release, nullptr, frame_.context, device_bytes_, device_};
  is_done(*frame_.api, frame_.api->free(&release));
}

bool Scratch::take_on_host(std::size_t bytes, tw_execution& execution) {
  execution.workspace_bytes = bytes;
  if (bytes == 0) return true;
  if (bytes > kMostKept) {
    execution.workspace = large_ = allocate(bytes);
    return large_ != nullptr;
  }
  if (kept_block.bytes < bytes) {
    std::free(kept_block.data);
    kept_block.data = allocate(bytes);
    kept_block.bytes = kept_block.data != nullptr ? bytes : 0;
  }
  execution.workspace = kept_block.data;
  return kept_block.data != nullptr;
}

bool Scratch::take_on_device(std::size_t bytes, tw_execution& execution) {
  execution.workspace_bytes = bytes;
  if (bytes == 0) return true;
  ffi::Allocate wanted = {sizeof wanted, nullptr, frame_.context, bytes, kLine, nullptr};
  if (!is_done(*frame_.api, frame_.api->allocate(&wanted)) || wanted.data == nullptr) return false;
  execution.workspace = device_ = wanted.data;
  device_bytes_ = bytes;
  return true;
}

}  // namespace tilewise::xla
