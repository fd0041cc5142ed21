// The plain backend's entry in the list of backends: what it accepts, how it plans, runs and
// describes a call.
#include "backends/plain/passes.h"
#include "backends/plain/tile.h"
#include "host/draw.h"
#include "plan/work.h"
#include "plan/workers.h"

namespace tilewise::plain {
namespace {

Status accepts(const Asked&, const Machine&) {
  return {};
}

// Whether a problem is computed in double, as double inputs are; all others are computed in float.
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

void plan_attention(const Problem& problem, const Machine& machine, Plan& plan) {
  plan.workers = workers_for(problem, machine);
  plan.tile = {kTileRows, kTileColumns};
  plan.workspace_bytes = is_double(problem) ? workspace<double>(problem, plan.workers)
                                            : workspace<float>(problem, plan.workers);
}

Plan plan(const Asked& asked, const Machine& machine) {
  Plan plan;
  plan.workers = machine.workers;
  if (const auto* problem = std::get_if<const Problem*>(&asked))
    plan_attention(**problem, machine, plan);
  return plan;
}

void describe(const Problem& problem, const Plan&, Text& note) {
  note.add("portable loops, no instruction set in particular");
  if (problem.operation == TW_BACKWARD)
    note.add("; each pass recomputes the scores, two products more than the least");
}

Status prepare(const Asked&, const Plan&, const Resources& resources) {
  resources.parallel.prepare();
  return {};
}

Status run(const Asked& asked, const Plan&, const Resources& resources) {
  const Parallel& parallel = resources.parallel;
  std::visit(Cases{[&](const Problem* problem) {
                     with_dropout(*problem, [&](const Problem& p) {
                       is_double(p) ? run_in<double>(p, resources) : run_in<float>(p, resources);
                     });
                   },
                   [&](const RotaryProblem* problem) { rotary(*problem, parallel); },
                   [&](const AppendProblem* problem) { append(*problem, parallel); },
                   [&](const MergeProblem* problem) { merge(*problem, parallel); }},
             asked);
  return {};
}

}  // namespace

extern const Backend kBackend;
const Backend kBackend{
    .name = "plain",
    .device = TW_CPU,
    .summary = "the tiled algorithm in its simplest form: every feature, any machine",
    .accepts = accepts,
    .plan = plan,
    .run = run,
    .prepare = prepare,
    .describe = describe,
    .fast_bytes = second_cache_bytes,
    .predict = predicted_seconds};

}  // namespace tilewise::plain
