// The plain backend's entry in the list: what it accepts, how it plans, where it runs.
#include "plan/backend.h"

#include "backends/plain/passes.h"
#include "backends/plain/tile.h"
#include "plan/text.h"

namespace tilewise::plain {
namespace {

Status runs_on(const Machine& machine) {
  if (machine.device.kind != TW_CPU)
    return unsupported("it runs on the processor, and the device asked for is CUDA %d.",
                       machine.device.index);
  return {};
}

Status accepts(const Problem&, const Machine& machine) {
  return runs_on(machine);
}

// Double inputs are worked on in double, everything else in float.
bool is_double(const Problem& problem) {
  return problem.query.dtype == DType::kFloat64;
}

template <class T>
int64 workspace(const Problem& problem, int workers) {
  switch (problem.operation) {
    case TW_FORWARD:
      return forward_workspace<T>(problem, workers);
    case TW_BACKWARD:
      return backward_workspace<T>(problem, workers);
    case TW_PROBABILITIES:
      return probabilities_workspace<T>(problem, workers);
  }
  return 0;
}

template <class T>
void run_in(const Problem& problem, const Resources& resources) {
  switch (problem.operation) {
    case TW_FORWARD:
      return forward<T>(problem, resources);
    case TW_BACKWARD:
      return backward<T>(problem, resources);
    case TW_PROBABILITIES:
      return probabilities<T>(problem, resources);
  }
}

Plan plan(const Problem& problem, const Machine& machine) {
  Plan plan;
  plan.tile = {kTileRows, kTileColumns};
  plan.workers = machine.workers;
  plan.workspace_bytes = is_double(problem) ? workspace<double>(problem, machine.workers)
                                            : workspace<float>(problem, machine.workers);
  const bool twice = problem.operation == TW_BACKWARD;
  Text(plan.note, sizeof plan.note)
      .add("portable loops, no instruction set in particular%s",
           twice ? "; each pass recomputes the scores, two products more than the least" : "");
  return plan;
}

Status run(const Problem& problem, const Plan&, const Resources& resources) {
  is_double(problem) ? run_in<double>(problem, resources) : run_in<float>(problem, resources);
  return {};
}

Status run_rotary(const RotaryProblem& problem, const Resources& resources) {
  rotary(problem, resources.parallel);
  return {};
}

Status run_append(const AppendProblem& problem, const Resources& resources) {
  append(problem, resources.parallel);
  return {};
}

Status run_merge(const MergeProblem& problem, const Resources& resources) {
  merge(problem, resources.parallel);
  return {};
}

}  // namespace

extern const Backend kBackend;
const Backend kBackend{
    "plain",    "the tiled algorithm in its simplest form: every feature, any machine",
    runs_on,    accepts,
    plan,       run,
    run_rotary, run_append,
    run_merge};

}  // namespace tilewise::plain
