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

  // The device of that index, its context made or, after a reset by somebody, made anew. Once it is
  // there this asks the driver one thing, which takes it 18 ns.
  static Status find(int index, Device*& device);

  // The same without that question, once it is there: a device that was reset may not be noticed.
  static Status find_opened(int index, Device*& device);
  // One that was found before in this process, even if it cannot be opened again after a reset:
  // what it is does not change.
  static Device* found_before(int index);
  // What is known of one without using it; refuses one that cannot be used.
  static Status describe(int index, tw_device_facts& facts);

  const Calls& calls() const { return *calls_; }
  int index() const { return index_; }
  int architecture() const { return architecture_; }  // 90 for compute capability 9.0
  int processors() const { return processors_; }
  int shared_bytes() const { return shared_bytes_; }  // of one multiprocessor
  int block_bytes() const { return block_bytes_; }    // that one block can have of it

  // A kernel of a cubin for this GPU, ready to be launched without loading on the way. The bytes
  // may go afterwards. Nothing says whether they are whole: whoever has them checks that before.
  Status load(const void* cubin, const char* name, unsigned shared_bytes, Kernel& kernel);

  // A stream of another GPU would run a kernel there, with pointers of this one. 0, 1 and 2 follow
  // the context that is current, and asking about 0 would spoil a capture.
  Status check_stream(Stream stream) const;

  // Whether work on the stream is being captured into a graph. Needs the context to be current
  // where the stream is one of 0, 1 and 2: see Current, which a call makes once for all it does.
  Status is_capturing(Stream stream, bool& captures) const;

  // Until all work on the stream is done. It must not be captured. Needs that, too.
  Status wait(Stream stream) const;

  // Whether memory lies where the call says: on this device, or on the host. A kernel that followed
  // a wrong pointer would end the context of the whole process. Takes the driver 110 to 170 ns, and
  // so is asked once of an address of the device's: who frees memory and calls with it is not
  // stopped.
  Status check_place(const char* name, const void* data, bool on_device) const;

  // Needs that, too. Arguments are copied before it returns.
  template <class... Arguments>
  Status launch(Kernel kernel, const Grid& grid, Stream stream,
                const Arguments&... arguments) const {
    const void* pointers[] = {&arguments..., nullptr};
    return launch_with(kernel, grid, stream, const_cast<void**>(pointers));
  }

  // After memory was given back, whose addresses may be anybody's now: on every device, for the
  // driver frees by an address alone.
  static void forget_places_of_all();

  // The library's own error word, which gets bits of tw_fault. The host reads it in a nanosecond,
  // and takes them out: a bit that a kernel sets meanwhile may come twice, but none is lost. Where
  // the device reads no memory of the host the word is the device's: then it is copied, and a bit
  // that another stream sets in this moment may be lost.
  core::uint32* error_word() const;
  Status take_faults(core::uint32& faults);

 private:
  friend class Current;
  static constexpr std::size_t kPageBytes = 4096;

  static Device* all();
  // By the first of several threads, for all of them.
  static Status open_once(const Calls* calls, int index, Device*& device);
  Status open(const Calls& calls, int index);
  Status know();   // what no reset changes
  Status enter();  // the primary context, which is held once
  Status share_with(Context context);
  Status ask_place(const char* name, Address address, bool on_device, int& kind) const;
  Status share_page();
  Status allocate_word();
  Status copy_word(Address to, Address from) const;
  void forget_places() const;
  bool is_stale() const;
  Status launch_with(Kernel kernel, const Grid& grid, Stream stream, void** arguments) const;

  const Calls* calls_ = nullptr;
  std::atomic<bool> is_open_{false};
  int index_ = -1, architecture_ = 0, processors_ = 0, shared_bytes_ = 0, block_bytes_ = 0,
      reads_all_memory_ = 0;
  Ordinal ordinal_ = -1;
  bool is_known_ = false, is_retained_ = false;
  // One thread notices a reset while others call.
  std::atomic<Context> context_{nullptr};
  std::atomic<unsigned long long> context_id_{0};  // of a context that was reset another one
  std::atomic<Address> error_address_{0};
  std::atomic<bool> has_own_word_{false};  // the device reads no memory of the host
  std::mutex cold_;                        // for opening and loading
  static constexpr int kMostKnown = 256;
  mutable std::atomic<Address> known_[kMostKnown] = {};  // addresses that were found to be here
  // A page of our own, registered: it can be read after a reset, as the driver's own memory cannot.
  alignas(kPageBytes) volatile core::uint32 page_[kPageBytes / sizeof(core::uint32)] = {};
};

// Makes the device's context the calling thread's for a scope, and gives the caller back his own.
class Current {
 public:
  explicit Current(const Device& device);
  // For work on a stream. One that somebody made has a context of its own, and asks for no other,
  // but for some.
  Current(const Device& device, Stream stream);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

  // Where the driver refused, another context is current, in which nothing may be done.
  Status status() const;

 private:
  const Device& device_;
  Result result_ = kOk;
  bool is_pushed_ = false;
};

// To load, register, allocate, or wait for a stream is refused while any thread captures another in
// the usual mode, and spoils that capture. In this mode, which the calling thread has for a scope,
// it is not and does not.
class Relaxed {
 public:
  explicit Relaxed(const Calls& calls);
  ~Relaxed();
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  const Calls& calls_;
  int mode_;  // what the thread had, once they are exchanged
  bool is_exchanged_;
};

}  // namespace tilewise::cuda
