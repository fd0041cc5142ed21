// The interface between the library and its backends, and the Plan that a backend makes and runs.
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

// A checked call of one of four kinds.
using Asked =
    std::variant<const Problem*, const RotaryProblem*, const AppendProblem*, const MergeProblem*>;

// A visitor with one function for each kind: std::visit(Cases{...}, asked).
template <class... Bodies>
struct Cases : Bodies... {
  using Bodies::operator()...;
};
// clang 14 does not deduce this by itself.
template <class... Bodies>
Cases(Bodies...) -> Cases<Bodies...>;

// Where the call is to run.
struct Machine {
  tw_device device{TW_CPU, 0};
  int workers = 1;
  bool all_workers = false;  // an embedder's pool cannot be made smaller: plan all, or one
};

struct Tile {
  int64 rows = 0, columns = 0;
};

// What a backend decided in plan(), for its run(). Only the backend reads the bytes.
class Choice {
 public:
  template <class T>
  void set(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof bytes_);
    std::memcpy(bytes_, &value, sizeof value);
  }

  // The value that set() stored; T must be the same type.
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

// What a run works with. The workspace has at least plan.workspace_bytes.
struct Resources {
  const Parallel& parallel;
  std::byte* workspace = nullptr;
  void* stream = nullptr;
  core::uint32* error = nullptr;  // bits of tw_fault, on the device; null: the backend has its own
};

struct Work;

// What runs in place of the optional functions that a backend leaves out.
inline Status prepare_nothing(const Asked&, const Plan&, const Resources&) {
  return {};
}
inline void describe_nothing(const Problem&, const Plan&, Text&) {}
inline double least_fast_bytes(const Machine&) {
  return 1 << 16;  // few machines have less
}
inline double no_prediction(const Problem&, const Plan&, const Work&, const Parallel&) {
  return 0;
}

struct Backend {
  const char* name;
  tw_device_kind device;  // the backend runs on it and is asked only about its calls
  const char* summary;

  // Ok, or why the backend does not run the call. TW_UNSUPPORTED passes the call on to the next
  // backend. TW_INVALID says that the request makes no sense on this backend, TW_FAILED that its
  // device fails; both refuse the call.
  Status (*accepts)(const Asked&, const Machine&);
  // Plans a call that was accepted.
  Plan (*plan)(const Asked&, const Machine&);
  Status (*run)(const Asked&, const Plan&, const Resources&);
  // Does ahead of time what the first run would have to do once. Tensors may have no memory yet.
  Status (*prepare)(const Asked&, const Plan&, const Resources&) = prepare_nothing;

  // All three serve explain. describe: a line on what decides the speed of this plan and, where
  // kernels are compiled on the user's machine, a second line on where they come from. fast_bytes:
  // the size of the memory close to a core. predict: seconds, or 0 if the backend cannot say.
  void (*describe)(const Problem&, const Plan&, Text&) = describe_nothing;
  double (*fast_bytes)(const Machine&) = least_fast_bytes;
  double (*predict)(const Problem&, const Plan&, const Work&, const Parallel&) = no_prediction;

  // Both are for devices with their own memory. check_place says whether a tensor that has elements
  // lies where the call says, on the device or the host; it is asked before the pointer is
  // followed. take_faults waits for the stream, then returns and clears the tw_fault bits of calls
  // that had no error word.
  Status (*check_place)(const tw_device&, const char* name, const View&) = nullptr;
  Status (*take_faults)(const tw_device&, void* stream, core::uint32& faults) = nullptr;

  // The device's functions. Null: the processor, or a kind whose functions another backend has.
  const DeviceCalls* devices = nullptr;
};

// The list of backends, best first. The last one runs every call on the processor.
std::span<const Backend* const> backends();

// For tests: replaces the list by another, which the caller keeps alive. Empty: the built-in list.
void replace_backends(std::span<const Backend* const> list);

// A backend that was asked for by name, and what named it. A null or empty name asks for none.
struct Named {
  const char *name, *by;
};

// The first backend in the list for devices of this kind; null if there is none.
const Backend* backend_of(const tw_device& device);

// Makes the plan by the backend that `named` names or, if it names none, by the first that accepts
// the call. If that backend refuses, or none accepts, returns why.
Status choose(const Asked& asked, const Machine& machine, const Named& named, Plan& plan);

}  // namespace tilewise
