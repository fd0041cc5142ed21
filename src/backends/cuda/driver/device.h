// One GPU as this library uses it: the primary context, which PyTorch, JAX and CuPy share, kernels
// that survive its reset, a word for errors, and the launch.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "backends/cuda/driver/driver.h"
#include "core/base.h"

namespace tilewise::cuda {

// What a kernel is launched on.
struct Grid {
  unsigned blocks[3] = {1, 1, 1};
  unsigned threads = 1;
  unsigned shared_bytes = 0;  // dynamic
};

class Device {
 public:
  static constexpr int kMost = 64;

  // The device of that index, its context made or, after a reset by somebody, made anew. Costs 20
  // ns once it is there.
  static Status find(int index, Device*& device);

  // What is known of one without using it; refuses one that cannot be used.
  static Status describe(int index, tw_device_facts& facts);

  const Calls& calls() const { return *calls_; }
  int index() const { return index_; }
  int architecture() const { return architecture_; }  // 90 for compute capability 9.0
  int processors() const { return processors_; }

  // A kernel of a cubin for this GPU, ready to be launched without loading on the way. The bytes
  // may go afterwards. Nothing says whether they are whole: whoever has them checks that before.
  Status load(const void* cubin, const char* name, unsigned shared_bytes, Kernel& kernel);

  // A stream of another GPU would run a kernel there, with pointers of this one. 0, 1 and 2 follow
  // the context that is current, and asking about 0 would spoil a capture.
  Status check_stream(Stream stream) const;

  // Whether work on the stream is being captured into a graph.
  Status is_capturing(Stream stream, bool& captures) const;

  // Needs the context to be current where the stream is one of 0, 1 and 2: see Current. Arguments
  // are copied before it returns.
  template <class... Arguments>
  Status launch(Kernel kernel, const Grid& grid, Stream stream,
                const Arguments&... arguments) const {
    const void* pointers[] = {&arguments..., nullptr};
    return launch_with(kernel, grid, stream, const_cast<void**>(pointers));
  }

  // The library's own error word, which gets bits of tw_fault. The host reads it in a nanosecond.
  Address error_word() const { return error_address_; }
  core::uint32 error() const;
  void clear_error();

 private:
  friend class Current;
  static constexpr std::size_t kPageBytes = 4096;

  Status open(int index);
  Status share_page();
  bool is_stale() const;
  Status launch_with(Kernel kernel, const Grid& grid, Stream stream, void** arguments) const;

  const Calls* calls_ = nullptr;  // set last: null until the device can be used
  std::atomic<bool> is_open_{false};
  int index_ = -1, architecture_ = 0, processors_ = 0;
  Ordinal ordinal_ = -1;
  Context context_ = nullptr;
  unsigned long long context_id_ = 0;  // a context that was reset comes back with another
  Address error_address_ = 0;
  std::mutex cold_;  // for opening and loading
  // A page of our own, registered: it can be read after a reset, as the driver's own memory cannot.
  alignas(kPageBytes) volatile core::uint32 page_[kPageBytes / sizeof(core::uint32)] = {};
};

// Makes the device's context the calling thread's for a scope, and gives the caller back his own.
class Current {
 public:
  explicit Current(const Device& device);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const Device& device_;
  bool is_pushed_ = false;
};

}  // namespace tilewise::cuda
