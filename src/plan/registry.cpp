// The list of backends and the walk along it. Backends are named here by declaration only: the plan
// layer includes none of them.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "plan/backend.h"
#include "problem/structs.h"

namespace tilewise {

namespace plain {
extern const Backend kBackend;
}

const Backend* const kBackends[kBackendCount] = {&plain::kBackend};

namespace {

// Collects why backends declined: "name: sentence name: sentence".
class Reasons {
 public:
  void add(const Backend& backend, const Status& why) {
    const int room = static_cast<int>(sizeof text_) - used_;
    const int added = std::snprintf(text_ + used_, static_cast<std::size_t>(room), " %s: %s",
                                    backend.name, why.sentence);
    used_ = added < room ? used_ + added : static_cast<int>(sizeof text_) - 1;
  }

  const char* text() const { return text_; }

 private:
  char text_[Status::kSentenceBytes / 2] = "";
  int used_ = 0;
};

Status forced(const Backend*& backend) {
  const char* name = std::getenv("TILEWISE_BACKEND");
  if (!name || !*name) return {};
  char known[256] = "";
  for (const Backend* candidate : kBackends) {
    if (std::strcmp(candidate->name, name) == 0) backend = candidate;
    if (*known) std::strncat(known, ", ", sizeof known - std::strlen(known) - 1);
    std::strncat(known, candidate->name, sizeof known - std::strlen(known) - 1);
  }
  if (backend) return {};
  return invalid("TILEWISE_BACKEND is '%.64s', which is no backend: use one of %s, or unset it.",
                 name, known);
}

template <class Accepts>
Status first(Accepts accepts, const Backend*& chosen) {
  const Backend* only = nullptr;
  TW_TRY(forced(only));
  Reasons reasons;
  for (const Backend* backend : kBackends) {
    if (only && backend != only) continue;
    const Status status = accepts(*backend);
    if (status.ok()) {
      chosen = backend;
      return {};
    }
    reasons.add(*backend, status);
  }
  return unsupported("No backend can run this.%s%s", reasons.text(),
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
