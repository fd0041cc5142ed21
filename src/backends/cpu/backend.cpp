// The processor's entry in the list: what it accepts, how it plans, where it runs.
#include "plan/backend.h"

#include "backends/cpu/cut.h"
#include "backends/cpu/isa/isa.h"
#include "backends/cpu/passes.h"
#include "plan/text.h"

namespace tilewise::cpu {
namespace {

Status runs_on(const Machine& machine) {
  if (machine.device.kind != TW_CPU)
    return unsupported("it runs on the processor, and the device asked for is CUDA %d.",
                       machine.device.index);
  const Isa* isa = nullptr;
  return choose_isa(isa);
}

Status accepts(const Problem&, const Machine& machine) {
  return runs_on(machine);
}

template <class T>
Planned planned(const Problem& problem, const Isa& isa, int workers) {
  switch (problem.operation) {
    case TW_FORWARD:
      return forward_plan<T>(problem, isa, workers);
    case TW_BACKWARD:
      return backward_plan<T>(problem, isa, workers);
    case TW_PROBABILITIES:
      return probabilities_plan<T>(problem, isa, workers);
  }
  return {};
}

template <class T>
void run_in(const Problem& problem, const Plan& plan, const Resources& resources) {
  const Isa& isa = *static_cast<const Isa*>(plan.variant);
  const int workers = plan.workers;
  switch (problem.operation) {
    case TW_FORWARD:
      return forward<T>(problem, isa, workers, resources);
    case TW_BACKWARD:
      return backward<T>(problem, isa, workers, resources);
    case TW_PROBABILITIES:
      return probabilities<T>(problem, isa, workers, resources);
  }
}

// What a feature costs: about so many times as long as plain attention at head dim 64, forward and
// backward. Measured with AVX2; a larger head dim makes it less (docs/kernels/cpu.md).
struct Cost {
  const char* name;
  bool asked;
  double forward, backward;
};

// Whether rows are used where they lie, for a few queries, and whether they would have to be
// copied.
struct Decoding {
  bool few, copies;
};

template <class T>
Decoding decoding_of(const Problem& p, const Isa& isa) {
  const Kernels<T>& kernels = forward_kernels<T>(p, isa, 1);
  const bool few = p.operation == TW_FORWARD && is_few(cut_of(p, kernels, 1), kernels);
  return {few, few && (is_copied(p.key, p.scaling.key, p.shape.dim, kernels) ||
                       is_copied(p.value, p.scaling.value, p.shape.value_dim, kernels))};
}

void describe(const Problem& p, const Isa& isa, Plan& plan) {
  const bool pairs = !is_double(p) && kernels_for<float>(p, isa).pairs();
  const Decoding decoding = is_double(p) ? decoding_of<double>(p, isa) : decoding_of<float>(p, isa);
  const bool heads_apart = decoding.few && p.mask.blocks && p.shape.group() > 1;
  const Cost costs[] = {{"softcap", p.scores.softcap > 0, 1.3, 1.2},
                        {"alibi", static_cast<bool>(p.scores.slopes), 1.3, 1.1},
                        {"bias", static_cast<bool>(p.scores.bias), 1.3, 1.1},
                        {"bias gradient", static_cast<bool>(p.gradients.bias), 1, 2},
                        {"boolean mask", static_cast<bool>(p.mask.visible), 1.3, 1.2},
                        {"each head's own blocks", heads_apart, 3, 1},
                        {"rows that are copied", decoding.copies, 2, 1},
                        {"dropout", p.dropout.decide.active(), 2, 1.4}};
  Text note(plan.note, sizeof plan.note);
  const char* way = decoding.few ? ", row by row for few queries"
                    : pairs      ? ", products of bfloat16"
                                 : "";
  note.add("%s%s", isa.name, way);
  const char* separator = "; slower by about: ";
  for (const Cost& cost : costs) {
    const double factor = p.operation == TW_BACKWARD ? cost.backward : cost.forward;
    if (!cost.asked || factor == 1) continue;
    note.add("%s%s x %.2g", separator, cost.name, factor);
    separator = ", ";
  }
}

Plan plan(const Problem& problem, const Machine& machine) {
  const Isa* isa = nullptr;
  // What was accepted is refused now only where somebody has changed the environment in between,
  // and then the best one runs.
  static_cast<void>(choose_isa(isa));
  const Planned planned = is_double(problem) ? cpu::planned<double>(problem, *isa, machine.workers)
                                             : cpu::planned<float>(problem, *isa, machine.workers);
  Plan plan;
  plan.variant = isa;
  plan.tile = planned.tile;
  plan.workers = machine.workers;
  plan.workspace_bytes = planned.workspace_bytes;
  describe(problem, *isa, plan);
  return plan;
}

Status run(const Problem& problem, const Plan& plan, const Resources& resources) {
  is_double(problem) ? run_in<double>(problem, plan, resources)
                     : run_in<float>(problem, plan, resources);
  return {};
}

}  // namespace

extern const Backend kBackend;
const Backend kBackend{
    "cpu",   "tiles with queries side by side in vectors: every feature, any processor",
    runs_on, accepts,
    plan,    run,
    rotary,  append,
    merge};

}  // namespace tilewise::cpu
