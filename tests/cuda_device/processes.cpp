// Scenarios of a whole process: its device is captured cold, poisoned, reset or full, it forks, or
// a call of its driver fails.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "cuda_device/alone.h"
#include "cuda_device/failing_cuda.h"
#include "cuda_device/twins.h"
#include "robust/process.h"

namespace tilewise::gpu {
namespace {

// Runs a call and take_faults. Returns nothing if the result is right, otherwise what is wrong.
std::string run_all(const Twins& twins, const Request& request, const Execution& where) {
  twins.blank_again(request.output);
  Status status = forward(request, where);
  std::uint32_t faults = 0;
  if (status.ok()) status = take_faults(faults, where);
  if (!status.ok()) return status.message;
  if (faults != 0) return "there are faults";
  return difference(twins.read(request.output), expected(twins, request)) <= kNear
             ? ""
             : "the result is wrong";
}

// Whether a call on the processor works, whatever has happened to the GPU.
bool runs_here(const Twins& twins, const Request& request) {
  return is_ok(forward(twins.on_host(request), Execution{}).message, "a call on the processor");
}

// Allocating and waiting would spoil a capture in the usual mode. They must work beside it, and not
// spoil it.
bool serves_memory_beside(const Stream& captured) {
  const Stream other;
  const Execution where = on_device(other.get());
  DeviceMemory memory;
  std::uint32_t faults = 0;
  bool good = is_ok(memory.allocate(where.device, 1 << 20).message, "to allocate under capture");
  good = is_ok(take_faults(faults, where).message, "to wait for another stream") && good;
  good = is_ok(synchronize(where.device, other.get()).message, "to synchronize another") && good;
  return holds(synchronize(where.device, captured.get()).code == TW_INVALID,
               "to wait for the captured stream is refused") &&
         good;
}

}  // namespace

bool capture_cold(const Arguments&) {
  constexpr int kGlobal = 0;  // what torch uses: the strictest
  const Driver& gpu = started();
  Twins twins;
  const Request request = attention(twins);
  const std::vector<float> wanted = expected(twins, request);
  const Stream stream;
  const Execution where = on_device(stream.get());
  const auto captured = [&](const auto& body) {
    Handle graph = nullptr;
    must(gpu.begin_capture(stream.get(), kGlobal), "to begin a capture");
    body();
    return holds(gpu.end_capture(stream.get(), &graph) == 0 && graph, "the capture is whole")
               ? graph
               : nullptr;
  };
  bool good = true;
  good = captured([&] {
           const Status status = forward(request, where);
           good = holds(status.code == TW_INVALID &&
                            status.message.find("call tw_prepare") != std::string::npos,
                        "an unprepared call is refused: " + status.message) &&
                  good;
           std::uint32_t faults = 0;
           good = holds(take_faults(faults, where).code == TW_INVALID,
                        "faults are not taken while a stream is captured") &&
                  good;
           good = serves_memory_beside(stream) && good;
         }) &&
         good;
  Handle running = nullptr;
  const Handle graph = captured([&] {
    good = is_ok(prepare(TW_FORWARD, request, where).message, "to prepare") && good;
    good = is_ok(forward(request, where).message, "the prepared call") && good;
  });
  if (!graph || !good) return false;
  must(gpu.instantiate(&running, graph, 0), "to instantiate the graph");
  must(gpu.launch_graph(running, stream.get()), "to launch the graph");
  must(gpu.wait(stream.get()), "to wait");
  return holds(difference(twins.read(request.output), wanted) <= kNear, "the graph computes");
}

bool poison(const Arguments&) {
  const Driver& gpu = started();
  Twins twins;
  const Request request = attention(twins);
  const Stream stream;
  Execution where = on_device(stream.get());
  if (!is_ok(run_all(twins, request, where), "the first call")) return false;
  must(gpu.launch(kernel("trap"), 1, 1, 1, 1, 1, 1, 0, stream.get(), nullptr, nullptr), "a trap");
  if (!holds(gpu.wait(stream.get()) != 0, "the trap ends the context")) return false;
  bool good = true;
  for (const Handle each : {stream.get(), Handle(nullptr)}) {
    where.stream = each;
    std::uint32_t faults = 0;
    for (const Status& status : {forward(request, where), take_faults(faults, where)})
      good = holds(status.code == TW_FAILED &&
                       status.message.find("end the process") != std::string::npos,
                   "it is said that a kernel failed: " + status.message) &&
             good;
  }
  return runs_here(twins, request) && good;
}

bool reset(const Arguments&) {
  const Driver& gpu = started();
  // Never deleted, because the reset frees its memory.
  auto& before = *new Twins;
  if (!is_ok(run_all(before, attention(before), on_device()), "the first call")) return false;
  must(gpu.reset(0), "a reset");
  Handle context = nullptr;
  must(gpu.retain(&context, 0), "the context after the reset");
  must(gpu.make_current(context), "to make it current");
  Twins twins;
  const Stream stream;
  return is_ok(run_all(twins, attention(twins), on_device(stream.get())), "the call afterwards") &&
         is_ok(run_all(twins, attention(twins), on_device()), "one on the default stream");
}

bool fill_memory(const Arguments&) {
  const Driver& gpu = started();
  Twins twins;
  const Request request = attention(twins);
  std::vector<Address> taken;
  for (std::size_t size = std::size_t{1} << 34; size >= std::size_t{1} << 16;) {
    Address place = 0;
    if (gpu.allocate(&place, size) == 0)
      taken.push_back(place);
    else
      size /= 2;
  }
  const Status status = forward(request, on_device());
  const bool said = holds(status.ok() || (status.code == TW_FAILED && status.message.size() > 20),
                          "a call on a full device says so: " + status.message);
  for (const Address place : taken) must(gpu.release(place), "to give memory back");
  return is_ok(run_all(twins, request, on_device()), "the call afterwards") && said;
}

bool fork_early(const Arguments&) {
  const auto work = [] {
    Twins twins;
    return is_ok(run_all(twins, attention(twins), on_device()), "a worker's call");
  };
  bool good = true;
  for (int n = 0; n < 2; ++n)
    good = is_ok(robust::run_in_child(60, work), "a worker that was forked early") && good;
  return work() && good;
}

bool fork_late(const Arguments&) {
  Twins twins;
  const Request request = attention(twins);
  if (!is_ok(run_all(twins, request, on_device()), "the first call")) return false;
  const std::string ended = robust::run_in_child(60, [&] {
    const Status status = forward(request, on_device());
    return holds(status.message.find("start workers by 'spawn'") != std::string::npos,
                 "a child is told why: " + status.message) &&
           runs_here(twins, request);
  });
  return is_ok(ended, "a child") &&
         is_ok(run_all(twins, request, on_device()), "the parent's next call");
}

bool fail_one(const Arguments& arguments) {
  void* library = dlopen(TILEWISE_FAILING_CUDA, RTLD_NOW | RTLD_LOCAL);
  const auto place =
      library ? reinterpret_cast<FailingCuda* (*)()>(dlsym(library, "tilewise_failing_cuda"))
              : nullptr;
  if (!holds(place != nullptr, "the driver that fails opens")) return false;
  FailingCuda& failing = *place();
  const Driver& gpu = started();  // the real one
  Twins twins;
  Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  const Stream stream;
  Handle before = nullptr, now = nullptr;
  must(gpu.current(&before), "the current context");
  failing.failing_call = std::atoi(arguments.at(0).c_str());
  const std::string first = run_all(twins, request, on_device(stream.get()));
  const bool has_failed = failing.failing_call < 0;
  failing.failing_call = -1;
  must(gpu.current(&now), "the current context");
  bool good = holds(now == before, "the caller's context stays current");
  good = holds(failing.calls > 0, "the library calls the driver that fails") && good;
  good = holds(first.empty() || first.size() > 20, "there is a sentence: " + first) && good;
  good = holds(first != "the result is wrong", "what is said to be done is done") && good;
  good = is_ok(run_all(twins, request, on_device(stream.get())), "the next call") && good;
  if (good && !has_failed) _exit(kNoSuchCall);
  return good;
}

}  // namespace tilewise::gpu
