// The one interface between the library and its backends, and the value that connects them: a Plan.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <variant>

#include "parallel/parallel.h"
#include "plan/device_calls.h"
#include "problem/problem.h"
#include "problem/text.h"

namespace tilewise {

// What is asked, checked: one of four kinds of calls.
using Asked =
    std::variant<const Problem*, const RotaryProblem*, const AppendProblem*, const MergeProblem*>;

// One body for each kind: std::visit(Cases{...}, asked).
template <class... Bodies>
struct Cases : Bodies... {
  using Bodies::operator()...;
};
// clang 14 does not find it by itself.
template <class... Bodies>
Cases(Bodies...) -> Cases<Bodies...>;

// Where the call is to run.
struct Machine {
  tw_device device{TW_CPU, 0};
  int workers = 1;
  bool all_workers = false;  // an embedder's, which cannot be told to be fewer: plan all, or one
};

struct Tile {
  int64 rows = 0, columns = 0;
};

// What a backend decided, in bytes that it alone reads: its run does not decide again.
class Choice {
 public:
  template <class T>
  void set(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof bytes_);
    std::memcpy(bytes_, &value, sizeof value);
  }

  // What was set; no other type.
  template <class T>
  T get() const {
    T value;
    std::memcpy(static_cast<void*>(&value), bytes_, sizeof value);
    return value;
  }

 private:
  std::byte bytes_[192];
};

struct Backend;

// How a call will be run. A value: it can be kept and copied.
struct Plan {
  const Backend* backend = nullptr;
  Tile tile;
  int workers = 1;
  int64 workspace_bytes = 0;
  Choice choice;
};

// What a run works with. The workspace is at least as large as the plan says.
struct Resources {
  const Parallel& parallel;
  std::byte* workspace = nullptr;
  void* stream = nullptr;
  core::uint32* error = nullptr;  // bits of tw_fault, on the device; null: the backend has its own
};

struct Work;

// What a backend says and does that has nothing to say or do.
inline Status prepare_nothing(const Asked&, const Plan&, const Resources&) {
  return {};
}
inline void describe_nothing(const Problem&, const Plan&, Text&) {}
inline double least_fast_bytes(const Machine&) {
  return 1 << 16;  // hardly any machine has less
}
inline double no_prediction(const Problem&, const Plan&, const Work&, const Parallel&) {
  return 0;
}

struct Backend {
  const char* name;
  tw_device_kind device;  // where it runs: it is not asked about calls on others
  const char* summary;

  // Ok, or the sentence why not. TW_UNSUPPORTED leaves the call to the next backend; TW_INVALID
  // says that what was asked of this one cannot be meant, TW_FAILED that its device fails, and both
  // refuse the call.
  Status (*accepts)(const Asked&, const Machine&);
  // Of what was accepted.
  Plan (*plan)(const Asked&, const Machine&);
  Status (*run)(const Asked&, const Plan&, const Resources&);
  // Does now what the first run would do on the way. Tensors may have no memory yet.
  Status (*prepare)(const Asked&, const Plan&, const Resources&) = prepare_nothing;

  // For explain: what a reader should know about the speed of this plan, and where kernels are
  // compiled on the user's machine a second line about where they come from; bytes of the memory
  // close to what computes; and seconds, 0 where it cannot say.
  void (*describe)(const Problem&, const Plan&, Text&) = describe_nothing;
  double (*fast_bytes)(const Machine&) = least_fast_bytes;
  double (*predict)(const Problem&, const Plan&, const Work&, const Parallel&) = no_prediction;

  // Of a device with memory of its own. The first says whether a tensor that has elements lies
  // where the call says, on the device or on the host; it is asked before anybody follows the
  // pointer. The second takes the bits of tw_fault that calls without an error word have left, once
  // all work on the stream is done.
  Status (*check_place)(const tw_device&, const char* name, const View&) = nullptr;
  Status (*take_faults)(const tw_device&, void* stream, core::uint32& faults) = nullptr;

  // Its devices and their memory. Null: the processor, or a backend that leaves them to another.
  const DeviceCalls* devices = nullptr;
};

// Best first. The last one takes whatever runs on a processor.
std::span<const Backend* const> backends();

// For tests: another list, which the caller keeps, until an empty one brings back the library's.
void replace_backends(std::span<const Backend* const> list);

// A backend that was asked for by name, and by what; a null or empty name asks for none.
struct Named {
  const char *name, *by;
};

// The backend that the environment names.
Named named_by_environment();

// The first backend of the list for devices of that kind; null where there is none.
const Backend* backend_of(const tw_device& device);

// The first backend of the list that accepts, or the one that was named, has planned.
Status choose(const Asked& asked, const Machine& machine, const Named& named, Plan& plan);

}  // namespace tilewise
