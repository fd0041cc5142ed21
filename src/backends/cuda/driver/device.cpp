#include "backends/cuda/driver/device.h"

namespace tilewise::cuda {
namespace {

// Shared memory that a kernel may use without an attribute.
constexpr unsigned kUsualSharedBytes = 48 << 10;

// Whether the handle means a stream of the current context.
bool follows_context(Stream stream) {
  return reinterpret_cast<std::uintptr_t>(stream) <= 2;
}

Status check_index(const Calls& calls, int index) {
  int count = 0;
  TW_CUDA(calls, device_count(&count), "counting the devices");
  if (index >= 0 && index < Device::kMost && index < count) return {};
  return unsupported("there is no CUDA device %d: this process sees %d.", index, count);
}

Status read_architecture(const Calls& calls, int index, Ordinal ordinal, int& architecture) {
  int major = 0, minor = 0;
  TW_CUDA(calls, device_attribute(&major, kMajor, ordinal), "asking the device's generation");
  TW_CUDA(calls, device_attribute(&minor, kMinor, ordinal), "asking the device's generation");
  architecture = major * 10 + minor;
  if (architecture >= kOldestArchitecture) return {};
  return unsupported("CUDA device %d is of generation %d.%d: 8.0 (Ampere) is the oldest that runs.",
                     index, major, minor);
}

}  // namespace

Status Device::find(int index, Device*& device) {
  TW_TRY(find_opened(index, device));
  return device->is_stale() ? open_once(device->calls_, device->index_, device) : Status{};
}

Device* Device::all() {
  static Device devices[kMost];
  return devices;
}

Device* Device::found_before(int index) {
  Device* device = index >= 0 && index < kMost ? all() + index : nullptr;
  return device && device->is_known_ ? device : nullptr;
}

Status Device::find_opened(int index, Device*& device) {
  device = nullptr;
  const Calls* calls = nullptr;
  TW_TRY(open_driver(calls));
  if (index < 0 || index >= kMost) return check_index(*calls, index);
  device = all() + index;
  if (device->is_open_.load(std::memory_order_acquire)) return {};
  return open_once(calls, index, device);
}

Status Device::open_once(const Calls* calls, int index, Device*& device) {
  const std::lock_guard lock(device->cold_);
  if (device->is_open_.load(std::memory_order_relaxed) && !device->is_stale()) return {};
  const Status opened = device->open(*calls, index);
  if (!opened.ok()) device = nullptr;
  return opened;
}

Status Device::describe(int index, tw_device_facts& facts) {
  const Calls* calls = nullptr;
  TW_TRY(open_driver(calls));
  TW_TRY(check_index(*calls, index));
  constexpr const char* kDoing = "asking what the device is";
  Ordinal ordinal = -1;
  TW_CUDA(*calls, device_get(&ordinal, index), "choosing the device");
  TW_TRY(read_architecture(*calls, index, ordinal, facts.architecture));
  std::size_t bytes = 0;
  TW_CUDA(*calls, device_name(facts.name, sizeof facts.name, ordinal), kDoing);
  TW_CUDA(*calls, device_attribute(&facts.processors, kProcessors, ordinal), kDoing);
  TW_CUDA(*calls, device_attribute(&facts.clock_khz, kClock, ordinal), kDoing);
  TW_CUDA(*calls, device_bytes(&bytes, ordinal), kDoing);
  facts.memory_bytes = bytes;
  facts.driver = calls->version;
  return {};
}

// What is already known about the device stays unchanged, because other threads read it.
Status Device::open(const Calls& calls, int index) {
  is_open_.store(false, std::memory_order_relaxed);
  if (!is_known_) {
    calls_ = &calls;
    index_ = index;
    TW_TRY(know());
    is_known_ = true;
  }
  forget_places();
  TW_TRY(enter());
  is_open_.store(true, std::memory_order_release);
  return {};
}

Status Device::know() {
  TW_TRY(check_index(*calls_, index_));
  TW_CUDA(*calls_, device_get(&ordinal_, index_), "choosing the device");
  TW_CUDA(*calls_, device_attribute(&processors_, kProcessors, ordinal_),
          "asking the device's size");
  TW_CUDA(*calls_, device_attribute(&shared_bytes_, kAllSharedBytes, ordinal_),
          "asking the device's size");
  TW_CUDA(*calls_, device_attribute(&block_bytes_, kOptInSharedBytes, ordinal_),
          "asking the device's size");
  TW_CUDA(*calls_, device_attribute(&reads_all_memory_, kPageableMemoryAccess, ordinal_),
          "asking what memory the device reads");
  return read_architecture(*calls_, index_, ordinal_, architecture_);
}

Status Device::enter() {
  Context context = nullptr;
  TW_CUDA(*calls_, primary_retain(&context, ordinal_), "using the device's primary context");
  // A retain from before a reset still counts, so the device is retained twice here.
  if (is_retained_) calls_->primary_release(ordinal_);
  is_retained_ = true;
  const Status shared = share_with(context);
  if (shared.ok()) return {};
  calls_->primary_release(ordinal_);
  is_retained_ = false;
  return shared;
}

Status Device::share_with(Context context) {
  unsigned long long id = 0;
  TW_CUDA(*calls_, context_id(context, &id), "using the device's primary context");
  context_ = context;
  context_id_ = id;
  return share_page();
}

Status Device::share_page() {
  const Current current(*this);
  TW_TRY(current.status());
  const Relaxed relaxed(*calls_);
  void* page = const_cast<core::uint32*>(page_);
  const Result shared = calls_->host_register(page, sizeof page_, kPortable | kMapped);
  Address address = 0;
  if (shared == kNotSupported) return allocate_word();
  if (shared != kOk && shared != kAlreadyRegistered)
    return driver_failure(*calls_, shared, "sharing the error word with the device");
  TW_CUDA(*calls_, host_address(&address, page, 0), "sharing the error word with the device");
  error_address_ = address;
  has_own_word_ = false;
  return {};
}

// The error word of GPUs that cannot map host memory, as some virtual ones. A reset loses it.
Status Device::allocate_word() {
  static const core::uint32 none = 0;
  Address address = 0;
  TW_CUDA(*calls_, memory_allocate(&address, sizeof none), "allocating the error word");
  const Status cleared = copy_word(address, reinterpret_cast<std::uintptr_t>(&none));
  if (!cleared.ok()) {
    calls_->memory_free(address);
    return cleared;
  }
  error_address_ = address;
  has_own_word_ = true;
  return {};
}

// Uses the calling thread's default stream, which breaks no capture and waits for no other stream
// but the legacy default one.
Status Device::copy_word(Address to, Address from) const {
  const auto stream = reinterpret_cast<Stream>(std::uintptr_t{2});
  TW_CUDA(*calls_, memory_copy(to, from, sizeof(core::uint32), stream), "copying the error word");
  return wait(stream);
}

bool Device::is_stale() const {
  unsigned long long id = 0;
  return calls_->context_id(context_, &id) != kOk || id != context_id_;
}

Status Device::load(const void* cubin, const char* name, unsigned shared_bytes, Kernel& kernel) {
  const std::lock_guard lock(cold_);
  const Current current(*this);
  TW_TRY(current.status());
  const Relaxed relaxed(*calls_);
  Library library = nullptr;
  Function function = nullptr;
  TW_CUDA(*calls_, library_load(&library, cubin, nullptr, nullptr, 0, nullptr, nullptr, 0),
          "loading a kernel");
  // This loads the code now and not at the first launch, and fails if the cubin is for another GPU.
  Result result = calls_->library_kernel(&kernel, library, name);
  if (result == kOk) result = calls_->kernel_function(&function, kernel);
  if (result == kOk && shared_bytes > kUsualSharedBytes)
    result =
        calls_->kernel_set(kDynamicSharedBytes, static_cast<int>(shared_bytes), kernel, ordinal_);
  if (result == kOk) return {};
  calls_->library_unload(library);
  kernel = nullptr;
  return driver_failure(*calls_, result, "loading a kernel");
}

Status Device::check_stream(Stream stream) const {
  if (follows_context(stream)) return {};
  Context its = nullptr;
  TW_CUDA(*calls_, stream_context(stream, &its), "asking the stream for its device");
  if (its == context_) return {};
  return invalid(
      "execution.stream belongs to another device or context than CUDA device %d: give a stream of "
      "that device's primary context.",
      index_);
}

Status Device::is_capturing(Stream stream, bool& captures) const {
  int state = 0;
  const Result result = calls_->stream_capturing(stream, &state);
  // 906: the legacy default stream, while a stream that synchronises with it is being captured.
  captures = result == kCaptureImplicit || state != 0;
  if (result == kOk || result == kCaptureImplicit) return {};
  return driver_failure(*calls_, result, "asking whether the stream is captured");
}

Status Device::wait(Stream stream) const {
  const Relaxed relaxed(*calls_);
  TW_CUDA(*calls_, stream_synchronize(stream), "waiting for the stream");
  return {};
}

Status Device::check_place(const char* name, const void* data, bool on_device) const {
  const auto address = static_cast<Address>(reinterpret_cast<std::uintptr_t>(data));
  std::atomic<Address>& known = known_[address / 256 % kMostKnown];
  if (on_device && known.load(std::memory_order_relaxed) == address) return {};
  int kind = 0;
  TW_TRY(ask_place(name, address, on_device, kind));
  // Only device addresses are remembered. Registered host memory is asked about each time: after it
  // was unregistered, malloc may return the same address again.
  if (on_device && kind == kDeviceMemory) known.store(address, std::memory_order_relaxed);
  return {};
}

Status Device::ask_place(const char* name, Address address, bool on_device, int& kind) const {
  int whose = -1;
  const int wanted[] = {kPointerKind, kPointerDevice};
  void* const answers[] = {&kind, &whose};
  TW_CUDA(*calls_, pointer_attributes(2, wanted, const_cast<void**>(answers), address),
          "asking where memory lies");
  const bool is_here = kind == kHostMemory || (kind == kDeviceMemory && whose == ordinal_) ||
                       (kind == 0 && reads_all_memory_ != 0);
  if (on_device ? is_here : kind != kDeviceMemory) return {};
  int is_managed = 0;
  const int last[] = {kPointerIsManaged};
  void* const answer[] = {&is_managed};
  TW_CUDA(*calls_, pointer_attributes(1, last, const_cast<void**>(answer), address),
          "asking where memory lies");
  if (is_managed) return {};
  if (!on_device)
    return invalid(
        "%s lies on a device, and tables of this call are read on the host: set "
        "execution.device_tables where all of them lie on CUDA device %d.",
        name, index_);
  if (kind == kDeviceMemory)
    return invalid("%s lies on CUDA device %d and the call runs on %d: copy it there.", name, whose,
                   index_);
  return invalid(
      "%s is no memory that CUDA device %d reads: it lies on the host, or was freed; tables alone "
      "may lie there, with execution.device_tables = 0.",
      name, index_);
}

Status Device::launch_with(Kernel kernel, const Grid& grid, Stream stream, void** arguments) const {
  TW_CUDA(*calls_,
          launch(kernel, grid.blocks[0], grid.blocks[1], grid.blocks[2], grid.threads, 1, 1,
                 grid.shared_bytes, stream, arguments, nullptr),
          "launching a kernel");
  return {};
}

core::uint32* Device::error_word() const {
  return reinterpret_cast<core::uint32*>(error_address_.load());
}

void Device::forget_places() const {
  for (std::atomic<Address>& known : known_) known.store(0, std::memory_order_relaxed);
}

void Device::forget_places_of_all() {
  for (int index = 0; index < kMost; ++index)
    if (all()[index].is_open_) all()[index].forget_places();
}

Status Device::take_faults(core::uint32& faults) {
  faults = __atomic_exchange_n(page_, 0U, __ATOMIC_ACQ_REL);
  if (!has_own_word_) return {};
  const Current current(*this);
  TW_TRY(current.status());
  core::uint32 found = 0;
  const core::uint32 none = 0;
  TW_TRY(copy_word(reinterpret_cast<std::uintptr_t>(&found), error_address_));
  faults |= found;
  return found == 0 ? Status{} : copy_word(error_address_, reinterpret_cast<std::uintptr_t>(&none));
}

Current::Current(const Device& device) : Current(device, nullptr) {}

// If no context is current, the device's context is pushed for any stream. Otherwise the driver
// would make one current when asked about a stream or launching, and leave it so.
Current::Current(const Device& device, Stream stream) : device_(device) {
  Context now = nullptr;
  result_ = device.calls().context_current(&now);
  if (result_ != kOk || now == device.context_ || (now && !follows_context(stream))) return;
  result_ = device.calls().context_push(device.context_);
  is_pushed_ = result_ == kOk;
}

Status Current::status() const {
  if (result_ == kOk) return {};
  return driver_failure(device_.calls(), result_, "making the device's context current");
}

Current::~Current() {
  Context ours = nullptr;
  if (is_pushed_) device_.calls().context_pop(&ours);
}

Relaxed::Relaxed(const Calls& calls)
    : calls_(calls),
      mode_(kCaptureRelaxed),
      is_exchanged_(calls.exchange_capture_mode(&mode_) == kOk) {}

Relaxed::~Relaxed() {
  if (is_exchanged_) calls_.exchange_capture_mode(&mode_);
}

}  // namespace tilewise::cuda
