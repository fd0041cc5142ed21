// One GPU as this library uses it: the primary context, which PyTorch, JAX and CuPy use as well;
// kernels, which survive a reset of that context; an error word; and the launch.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "backends/cuda/driver/driver.h"
#include "core/base.h"

namespace tilewise::cuda {

// The launch parameters of a kernel.
struct Grid {
  unsigned blocks[3] = {1, 1, 1};
  unsigned threads = 1;
  unsigned shared_bytes = 0;  // dynamic
};

class Device {
 public:
  static constexpr int kMost = 64;

  // The device of that index, with its context retained; after a reset by somebody, retained anew.
  // Once the device is open, this makes one call of the driver, of 18 ns.
  static Status find(int index, Device*& device);

  // Like find, but once the device is open without a call of the driver: a reset may go unnoticed.
  static Status find_opened(int index, Device*& device);
  // A device that was found before in this process, or null. Its properties are valid even if the
  // device cannot be opened again after a reset.
  static Device* found_before(int index);
  // The properties of a device, without using it; refuses one that cannot be used.
  static Status describe(int index, tw_device_facts& facts);

  const Calls& calls() const { return *calls_; }
  int index() const { return index_; }
  int architecture() const { return architecture_; }  // 90 for compute capability 9.0
  int processors() const { return processors_; }
  int shared_bytes() const { return shared_bytes_; }  // of a multiprocessor
  int block_bytes() const { return block_bytes_; }    // that one block can have of it

  // Loads a kernel of a cubin for this GPU completely, so that the first launch loads nothing. The
  // bytes may be freed afterwards. Does not detect damaged bytes; the caller must have checked
  // them.
  Status load(const void* cubin, const char* name, unsigned shared_bytes, Kernel& kernel);

  // Refuses a stream of another GPU, on which a kernel would run there with pointers of this GPU,
  // and one of another context. Streams 0, 1 and 2 belong to the current context; they are not
  // asked about, because asking about 0 breaks a capture.
  Status check_stream(Stream stream) const;

  // Whether the stream is being captured into a graph. For streams 0, 1 and 2 the context must be
  // current: see Current, which each call creates once.
  Status is_capturing(Stream stream, bool& captures) const;

  // Waits for all work on the stream, which must not be captured. Context as for is_capturing.
  Status wait(Stream stream) const;

  // Whether memory is where the call says: on this device, or on the host. A kernel that follows a
  // wrong pointer destroys the context of the whole process. The driver takes 110 to 170 ns, so
  // up to 256 addresses on this device are remembered and not asked about again; that their memory
  // was freed since, other than by tw_free, goes unnoticed.
  Status check_place(const char* name, const void* data, bool on_device) const;

  // Context as for is_capturing. Arguments are copied before it returns.
  template <class... Arguments>
  Status launch(Kernel kernel, const Grid& grid, Stream stream,
                const Arguments&... arguments) const {
    const void* pointers[] = {&arguments..., nullptr};
    return launch_with(kernel, grid, stream, const_cast<void**>(pointers));
  }

  // Makes check_place forget the addresses that it remembers, on every device, because memory of
  // any device may be freed by its address alone. Call it after freeing memory.
  static void forget_places_of_all();

  // The library's error word, which collects bits of tw_fault. It is mapped host memory, which the
  // host reads in a nanosecond and clears; a bit that a kernel sets meanwhile may be reported
  // twice, but is not lost. If the GPU cannot map host memory, the word is in device memory and
  // copied; then a bit that a kernel sets between the copy and the clearing may be lost.
  core::uint32* error_word() const;
  Status take_faults(core::uint32& faults);

 private:
  friend class Current;
  static constexpr std::size_t kPageBytes = 4096;

  static Device* all();
  // Called by the first of several threads that need the device, for all of them.
  static Status open_once(const Calls* calls, int index, Device*& device);
  Status open(const Calls& calls, int index);
  Status know();   // properties that no reset changes
  Status enter();  // retains the primary context, once
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
  // One thread may notice a reset while others call.
  std::atomic<Context> context_{nullptr};
  std::atomic<unsigned long long> context_id_{
      0};  // distinguishes a context from the one before a reset
  std::atomic<Address> error_address_{0};
  std::atomic<bool> has_own_word_{false};  // the GPU cannot map host memory
  std::mutex cold_;                        // guards opening and loading
  static constexpr int kMostKnown = 256;
  mutable std::atomic<Address> known_[kMostKnown] = {};  // addresses known to be on this device
  // The page that holds the error word, registered with the driver. Unlike memory that the driver
  // allocates, it can be read after a reset.
  alignas(kPageBytes) volatile core::uint32 page_[kPageBytes / sizeof(core::uint32)] = {};
};

// Makes the device's context current for a scope, and then restores the caller's.
class Current {
 public:
  explicit Current(const Device& device);
  // For work on a stream. A stream that somebody created carries its own context, so whichever
  // context is current stays.
  Current(const Device& device, Stream stream);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

  // If this fails, another context is current, and nothing may be done in it.
  Status status() const;

 private:
  const Device& device_;
  Result result_ = kOk;
  bool is_pushed_ = false;
};

// Loading, registering, allocating and waiting for a stream are refused while any thread captures
// in the usual mode, and break that capture. Within this scope the calling thread uses the relaxed
// mode, in which they are allowed.
class Relaxed {
 public:
  explicit Relaxed(const Calls& calls);
  ~Relaxed();
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  const Calls& calls_;
  int mode_;  // the thread's previous mode
  bool is_exchanged_;
};

}  // namespace tilewise::cuda
