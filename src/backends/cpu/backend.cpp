// The CPU backend's entry in the list of backends: what it accepts, how it plans, runs and
// describes a call.
#include "plan/backend.h"

#include "backends/cpu/isa/isa.h"
#include "backends/cpu/passes.h"
#include "host/draw.h"
#include "plan/work.h"
#include "plan/workers.h"

namespace tilewise::cpu {
namespace {

Status accepts(const Asked&, const Machine&) {
  const Isa* isa = nullptr;
  return choose_isa(isa);
}

template <class T>
Planned planned(const Problem& problem, int workers, Decided& decided) {
  switch (problem.operation) {
    case TW_FORWARD:
      return forward_plan<T>(problem, workers, decided);
    case TW_BACKWARD:
      return backward_plan<T>(problem, workers, decided);
    case TW_PROBABILITIES:
      return probabilities_plan<T>(problem, workers, decided);
  }
  return {};
}

template <class T>
void run_in(const Problem& problem, const Decided& decided, const Resources& resources) {
  switch (problem.operation) {
    case TW_FORWARD:
      return forward<T>(problem, decided, resources);
    case TW_BACKWARD:
      return backward<T>(problem, decided, resources);
    case TW_PROBABILITIES:
      return probabilities<T>(problem, decided, resources);
  }
}

// The rough cost of a feature: its time as a multiple of plain attention. docs/kernels/cpu.md has
// measurements with AVX2.
struct Cost {
  const char* name;
  bool asked;
  double forward, backward;
};

// Whether a call decodes, and whether decoding must copy rows of keys or values.
struct Decoding {
  bool is_chosen, copies;
};

template <class T>
Decoding decoding_of(const Problem& p, const Decided& decided) {
  const Kernels<T>& kernels = kernels_for<T>(p, *decided.isa);
  const bool empty = p.shape.batch == 0 || p.shape.queries == 0;
  const bool is_chosen =
      p.operation == TW_FORWARD ? !empty && decodes(decided.grid, kernels) : decided.decodes;
  return {is_chosen,
          is_chosen && (is_copied(p.key, p.scaling.key, p.shape.dim, kernels) ||
                        is_copied(p.value, p.scaling.value, p.shape.value_dim, kernels))};
}

void describe(const Problem& p, const Plan& plan, Text& note) {
  const auto decided = plan.choice.get<Decided>();
  const Isa& isa = *decided.isa;
  const bool pairs = !is_double(p) && kernels_for<float>(p, isa).pairs();
  const Decoding decoding =
      is_double(p) ? decoding_of<double>(p, decided) : decoding_of<float>(p, decided);
  const bool heads_apart = decoding.is_chosen && p.mask.blocks && p.shape.group() > 1;
  const Cost costs[] = {{"softcap", p.scores.softcap > 0, 1.3, 1.2},
                        {"alibi", static_cast<bool>(p.scores.slopes), 1.4, 1.1},
                        {"bias", static_cast<bool>(p.scores.bias), 1.3, 1.1},
                        {"bias gradient", static_cast<bool>(p.gradients.bias), 1, 3.5},
                        {"boolean mask", static_cast<bool>(p.mask.visible), 1.3, 1.2},
                        {"each head's own blocks", heads_apart, 3, 1},
                        {"rows that are copied", decoding.copies, 2, 1},
                        {"dropout", p.dropout.decide.active(), 2.2, 1.4}};
  const char* way = decoding.is_chosen ? ", row by row for few queries"
                    : pairs            ? ", products of bfloat16"
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

void plan_attention(const Problem& problem, const Machine& machine, Decided& decided, Plan& plan) {
  plan.workers = workers_for(problem, machine);
  const Planned planned = is_double(problem) ? cpu::planned<double>(problem, plan.workers, decided)
                                             : cpu::planned<float>(problem, plan.workers, decided);
  plan.tile = planned.tile;
  plan.workspace_bytes = planned.workspace_bytes;
}

Plan plan(const Asked& asked, const Machine& machine) {
  Plan plan;
  plan.workers = machine.workers;
  Decided decided;
  static_cast<void>(choose_isa(decided.isa));  // as `accepts` has seen
  if (const auto* problem = std::get_if<const Problem*>(&asked))
    plan_attention(**problem, machine, decided, plan);
  plan.choice.set(decided);
  return plan;
}

Status prepare(const Asked&, const Plan&, const Resources& resources) {
  resources.parallel.prepare();
  return {};
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  const auto decided = plan.choice.get<Decided>();
  const Isa& isa = *decided.isa;
  const Parallel& parallel = resources.parallel;
  std::visit(Cases{[&](const Problem* problem) {
                     with_dropout(*problem, [&](const Problem& p) {
                       is_double(p) ? run_in<double>(p, decided, resources)
                                    : run_in<float>(p, decided, resources);
                     });
                   },
                   [&](const RotaryProblem* problem) { rotary(*problem, isa, parallel); },
                   [&](const AppendProblem* problem) { append(*problem, isa, parallel); },
                   [&](const MergeProblem* problem) { merge(*problem, isa, parallel); }},
             asked);
  return {};
}

}  // namespace

extern const Backend kBackend;
const Backend kBackend{
    .name = "cpu",
    .device = TW_CPU,
    .summary = "tiles with queries side by side in vectors: every feature, any processor",
    .accepts = accepts,
    .plan = plan,
    .run = run,
    .prepare = prepare,
    .describe = describe,
    .fast_bytes = second_cache_bytes,
    .predict = predicted_seconds};

}  // namespace tilewise::cpu
