// The list of backends, and the choice among them. Backends are only declared here: the plan layer
// includes none of them.
#include <cstring>

#include "plan/backend.h"
#include "plan/settings.h"
#include "problem/structs.h"

namespace tilewise {

namespace cpu {
extern const Backend kBackend;
}
namespace cuda {
extern const Backend kBackend;
}
namespace plain {
extern const Backend kBackend;
}

namespace {

constexpr const Backend* kLibrarys[] = {&cpu::kBackend, &cuda::kBackend, &plain::kBackend};
std::span<const Backend* const> current = kLibrarys;

Status find(const Named& named, const Backend*& backend) {
  if (!named.name || !*named.name) return {};
  char known[256];
  Text names(known, sizeof known);
  for (const Backend* candidate : current) {
    if (std::strcmp(candidate->name, named.name) == 0) backend = candidate;
    names.add("%s%s", *known ? ", " : "", candidate->name);
  }
  if (backend) return {};
  return invalid("%s is '%.64s', which is no backend: use one of %s, or leave it unset.", named.by,
                 named.name, known);
}

// The refusal of a named backend whose kind of device is not the one asked for.
Status runs_elsewhere(const Backend& backend, const tw_device& wanted) {
  if (backend.device == TW_CPU)
    return unsupported("it runs on the processor, and the device asked for is CUDA %d.",
                       wanted.index);
  return unsupported("it runs on CUDA devices, and the processor is asked for.");
}

Status accepts(const Backend& backend, const Asked& asked, const Machine& machine) {
  if (backend.device != machine.device.kind) return runs_elsewhere(backend, machine.device);
  return backend.accepts(asked, machine);
}

}  // namespace

std::span<const Backend* const> backends() {
  return current;
}

void replace_backends(std::span<const Backend* const> list) {
  current = list.empty() ? kLibrarys : list;
}

const Backend* backend_of(const tw_device& device) {
  for (const Backend* backend : current)
    if (backend->device == device.kind) return backend;
  return nullptr;
}

Status choose(const Asked& asked, const Machine& machine, const Named& named, Plan& plan) {
  const Backend* only = nullptr;
  TW_TRY(find(named, only));
  char said[Status::kSentenceBytes / 2];
  Text reasons(said, sizeof said);
  for (const Backend* backend : current) {
    if (only ? backend != only : backend->device != machine.device.kind) continue;
    const Status status = accepts(*backend, asked, machine);
    if (status.ok()) {
      plan = backend->plan(asked, machine);
      plan.backend = backend;
      return {};
    }
    if (status.code != TW_UNSUPPORTED) return status;
    reasons.add(" %s: %s", backend->name, status.sentence);
  }
  if (only) return unsupported("No backend can run this.%s %s allows no other.", said, named.by);
  return unsupported("No backend can run this.%s", said);
}

}  // namespace tilewise
