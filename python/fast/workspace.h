// Scratch memory: on the processor one block for each thread, which grows and stays; on a device
// the framework's own, which it hands on in the order of the stream, so that it may go back as soon
// as the kernels are launched.
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

  // The block of this thread, whatever its size: most calls fit.
  void take_kept(tw_execution& execution);
  // At least `bytes` on the processor. False, without an exception: there are not so many.
  bool take_on_host(size_t bytes, tw_execution& execution);
  // `bytes` where `like` lies. False: an exception is set.
  bool take_on_device(const Framework& framework, PyObject* like, size_t bytes,
                      tw_execution& execution);

 private:
  void* large_ = nullptr;
  dlpack::ManagedVersioned* managed_ = nullptr;
  Reference array_;
};

}  // namespace tilewise::fast
