// The list of backends and the walk along it. Backends are named here by declaration only: the plan
// layer includes none of them.
#include <cstdlib>
#include <cstring>

#include "plan/backend.h"
#include "plan/text.h"
#include "problem/structs.h"

namespace tilewise {

namespace cpu {
extern const Backend kBackend;
}
namespace plain {
extern const Backend kBackend;
}

const Backend* const kBackends[kBackendCount] = {&cpu::kBackend, &plain::kBackend};

namespace {

Status forced(const Backend*& backend) {
  const char* name = std::getenv("TILEWISE_BACKEND");
  if (!name || !*name) return {};
  char known[256];
  Text names(known, sizeof known);
  for (const Backend* candidate : kBackends) {
    if (std::strcmp(candidate->name, name) == 0) backend = candidate;
    names.add("%s%s", *known ? ", " : "", candidate->name);
  }
  if (backend) return {};
  return invalid("TILEWISE_BACKEND is '%.64s', which is no backend: use one of %s, or unset it.",
                 name, known);
}

template <class Accepts>
Status first(Accepts accepts, const Backend*& chosen) {
  const Backend* only = nullptr;
  TW_TRY(forced(only));
  char said[Status::kSentenceBytes / 2];
  Text reasons(said, sizeof said);
  for (const Backend* backend : kBackends) {
    if (only && backend != only) continue;
    const Status status = accepts(*backend);
    if (status.ok()) {
      chosen = backend;
      return {};
    }
    if (status.code == TW_INVALID) return status;
    reasons.add(" %s: %s", backend->name, status.sentence);
  }
  return unsupported("No backend can run this.%s%s", said,
                     only ? " TILEWISE_BACKEND allows no other." : "");
}

}  // namespace

Status choose(const Problem& problem, const Machine& machine, Plan& plan) {
  const Backend* backend = nullptr;
  const auto accepts = [&](const Backend& b) { return b.accepts(problem, machine); };
  TW_TRY(first(accepts, backend));
  plan = backend->plan(problem, machine);
  plan.backend = backend;
  return {};
}

Status choose(const Machine& machine, const Backend*& backend) {
  return first([&](const Backend& b) { return b.runs_on(machine); }, backend);
}

}  // namespace tilewise
