// The workspace of one call. On the processor each thread keeps one of at most 16 MiB from call to
// call; on a GPU it is XLA's memory.
#pragma once
#include <tilewise/tilewise.h>

#include "python/xla/ffi.h"

namespace tilewise::xla {

class Scratch {
 public:
  explicit Scratch(const ffi::CallFrame& frame) : frame_(frame) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  // Both functions return an error if there is no such memory. On a GPU, later work on the same
  // stream may reuse the memory, so it is released as soon as the call is enqueued.
  ffi::Error* take_on_host(std::size_t bytes, tw_execution& execution);
  ffi::Error* take_on_device(std::size_t bytes, tw_execution& execution);

 private:
  const ffi::CallFrame& frame_;
  void* large_ = nullptr;
  void* device_ = nullptr;
  std::size_t device_bytes_ = 0;
};

}  // namespace tilewise::xla
