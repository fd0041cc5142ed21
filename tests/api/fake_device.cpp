#include "fake_device.h"

#include <array>

#include "plan/backend.h"

namespace tilewise {
namespace {

struct State {
  FakeDevice::Seen seen;
  unsigned prepared = 0;  // a bit for each kind of call
  bool captures = false;
  int runs = 0;
};
State state;

// A bit for each kind of call.
unsigned kind_of(const Asked& asked) {
  const auto* attention = std::get_if<const Problem*>(&asked);
  return 1u << (attention ? static_cast<unsigned>((*attention)->operation)
                          : 3 + static_cast<unsigned>(asked.index()));
}

Status accepts(const Asked&, const Machine& machine) {
  if (machine.device.index < 2) return {};
  return unsupported("it is for devices 0 and 1.");
}

Plan plan(const Asked& asked, const Machine&) {
  Plan plan;
  plan.tile = {128, 64};
  const bool attention = std::holds_alternative<const Problem*>(asked);
  plan.workspace_bytes = attention ? FakeDevice::kWorkspaceBytes : 0;
  plan.choice.set(kind_of(asked));
  return plan;
}

// Refuses what the plan was not made for.
Status remember(const Asked& asked, const Plan& plan, const Resources& resources) {
  state.seen = {
      .workspace = resources.workspace, .stream = resources.stream, .error = resources.error};
  if (const auto* given = std::get_if<const Problem*>(&asked)) {
    const Problem& problem = **given;
    state.seen.query = problem.query.data;
    state.seen.state = problem.dropout.state.data;
    state.seen.queries = problem.shape.queries;
    state.seen.keys = problem.shape.keys;
    if (!problem.query.on_device) return failed("The query does not lie on the device.");
  }
  return plan.choice.get<unsigned>() == kind_of(asked) ? Status{}
                                                       : failed("The plan is another's.");
}

Status prepare(const Asked& asked, const Plan& plan, const Resources& resources) {
  state.prepared |= kind_of(asked);
  return remember(asked, plan, resources);
}

Status run(const Asked& asked, const Plan& plan, const Resources& resources) {
  if (state.captures && (state.prepared & kind_of(asked)) == 0)
    return invalid("The stream is captured and this call is not prepared: prepare it before.");
  ++state.runs;
  return remember(asked, plan, resources);
}

void describe(const Problem&, const Plan&, Text& note) {
  note.add("a note");
}

const Backend kFake{.name = "cuda",
                    .device = TW_CUDA,
                    .summary = "a backend of the tests",
                    .accepts = accepts,
                    .plan = plan,
                    .run = run,
                    .prepare = prepare,
                    .describe = describe};

}  // namespace

FakeDevice::FakeDevice() {
  state = {};
  static const std::array list{&kFake, backends().front(), backends().back()};
  replace_backends(list);
}

FakeDevice::~FakeDevice() {
  replace_backends({});
}

void FakeDevice::capture() {
  state.captures = true;
}

void FakeDevice::forget() {
  state.seen = {};
}

const FakeDevice::Seen& FakeDevice::seen() const {
  return state.seen;
}

int FakeDevice::runs() const {
  return state.runs;
}

}  // namespace tilewise
