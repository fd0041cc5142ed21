// The workspace of a call. On the processor each thread keeps a block, which grows up to 64 MiB; a
// larger workspace is freed after the call. On a GPU the workspace is the framework's memory. The
// framework reuses it in the order of the stream, so the workspace can be released as soon as the
// kernels are launched.
#pragma once
#include <tilewise/tilewise.h>

#include "python/fast/frameworks.h"

namespace tilewise::fast {

class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace();

  // Takes this thread's block, whatever its size: it is enough for most calls.
  void take_kept(tw_execution& execution);
  // Takes at least `bytes` on the processor. False without an exception: out of memory.
  bool take_on_host(size_t bytes, tw_execution& execution);
  // Takes `bytes` on the device of `like`. False: an exception is set.
  bool take_on_device(const Framework& framework, PyObject* like, size_t bytes,
                      tw_execution& execution);

 private:
  void* large_ = nullptr;
  dlpack::ManagedVersioned* managed_ = nullptr;
  Reference array_;
};

}  // namespace tilewise::fast
