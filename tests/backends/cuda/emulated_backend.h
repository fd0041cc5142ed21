// A backend of the tests: the GPU kernels' own text, run on the processor by the emulator.
#pragma once

#include <cstdint>

namespace tilewise {

// The library's first backend as long as this object lives.
class EmulatedBackend {
 public:
  EmulatedBackend();
  ~EmulatedBackend();
  EmulatedBackend(const EmulatedBackend&) = delete;
  EmulatedBackend& operator=(const EmulatedBackend&) = delete;
};

// How many kernels were launched until now.
std::int64_t emulated_launches();
// And how many of these were of attention by tensor cores.
std::int64_t emulated_fast_launches();

// Whether kernels with features compiled in can be had; at first they can.
void set_emulated_compiler(bool is_there);

// The shared memory that a block may have, in KiB. With less, backward takes other tiles.
void set_emulated_shared_kib(int kib);

// The number of multiprocessors, 2 at first.
void set_emulated_processors(int count);

// The GPU's architecture, 90 at first: some branches of kernels depend on it.
void set_emulated_architecture(int number);

// Sets a property of the played GPU as long as this object lives; then it is as usual again.
template <auto set, auto usual>
struct Emulated {
  explicit Emulated(decltype(usual) value) { set(value); }
  ~Emulated() { set(usual); }
  Emulated(const Emulated&) = delete;
  Emulated& operator=(const Emulated&) = delete;
};
using SharedKib = Emulated<set_emulated_shared_kib, 227>;
using Architecture = Emulated<set_emulated_architecture, 90>;
using Processors = Emulated<set_emulated_processors, 2>;
struct WithoutCompiler : Emulated<set_emulated_compiler, true> {
  WithoutCompiler() : Emulated(false) {}
};

}  // namespace tilewise
