#include "python/fast/workspace.h"

#include <cstdlib>

#include "python/fast/reading.h"

namespace tilewise::fast {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kFirst = size_t{1} << 16;
constexpr size_t kMostKept = size_t{1} << 26;  // larger blocks go back after the call

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { std::free(data); }
};
thread_local Block kept_block;

void* allocate(size_t bytes) {
  return std::aligned_alloc(kLine, (bytes + kLine - 1) / kLine * kLine);
}

bool grow(size_t bytes) {
  std::free(kept_block.data);
  kept_block.data = allocate(bytes);
  kept_block.bytes = kept_block.data != nullptr ? bytes : 0;
  return kept_block.data != nullptr;
}

// Ignores the sentence, which has no exception type; `make` below raises the framework's exception.
void ignore(void*, const char*, const char*) {}

}  // namespace

Workspace::~Workspace() {
  std::free(large_);
  if (managed_ != nullptr && managed_->release != nullptr) managed_->release(managed_);
}

void Workspace::take_kept(tw_execution& execution) {
  if (kept_block.data == nullptr && !grow(kFirst)) return;
  execution.workspace = kept_block.data;
  execution.workspace_bytes = kept_block.bytes;
}

bool Workspace::take_on_host(size_t bytes, tw_execution& execution) {
  if (bytes <= kMostKept) {
    if (kept_block.bytes < bytes && !grow(bytes)) return false;
    take_kept(execution);
    return true;
  }
  large_ = allocate(bytes);
  if (large_ == nullptr) return false;
  execution.workspace = large_;
  execution.workspace_bytes = bytes;
  return true;
}

bool Workspace::take_on_device(const Framework& framework, PyObject* like, size_t bytes,
                               tw_execution& execution) {
  execution.workspace_bytes = bytes;
  if (bytes == 0) return true;
  auto size = static_cast<int64_t>(bytes);
  if (framework.exchange != nullptr && framework.exchange->allocate != nullptr) {
    int64_t stride = 1;
    dlpack::Tensor wanted = {};
    wanted.device_type = dlpack::kCuda;
    wanted.device_index = execution.device.index;
    wanted.rank = 1;
    wanted.dtype = {dlpack::kUInt, 8, 1};
    wanted.shape = &size;
    wanted.strides = &stride;
    if (framework.exchange->allocate(&wanted, &managed_, nullptr, ignore) == 0) {
      execution.workspace =
          static_cast<char*>(managed_->tensor.data) + managed_->tensor.byte_offset;
      return true;
    }
    managed_ = nullptr;
    PyErr_Clear();
  }
  const Reference shape = Py_BuildValue("(L)", static_cast<long long>(size));
  const Reference code = PyLong_FromLong(TW_BOOL);  // one byte each
  const Reference fill = PyLong_FromLong(0);
  if (!shape || !code || !fill) return false;
  array_ = PyObject_CallFunctionObjArgs(framework.make, like, shape.get(), code.get(), fill.get(),
                                        nullptr);
  View view = {};
  if (!array_ || !read(framework, array_.get(), view)) return false;
  execution.workspace = static_cast<char*>(view.tensor.data) + view.tensor.byte_offset;
  return true;
}

}  // namespace tilewise::fast
