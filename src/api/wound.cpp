// Which wound a library with TILEWISE_WOUNDS has: the one that the environment names. Without that
// definition there is nothing here.
#include "core/wound.h"

#if defined(TILEWISE_WOUNDS)

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tilewise::core {
namespace {

struct Named {
  Wound wound;
  const char* name;
};

#define TW_WOUND_ROW(value, name, sentence) {Wound::value, name},
constexpr Named kWounds[] = {TW_WOUNDS(TW_WOUND_ROW, TW_WOUND_ROW)};
#undef TW_WOUND_ROW

// This build is for one tool, which would take a misspelt name for a wound that nobody notices.
Wound chosen() {
  const char* name = std::getenv("TILEWISE_WOUND");
  if (name == nullptr || *name == '\0') return Wound::kNone;
  for (const Named& each : kWounds)
    if (std::strcmp(each.name, name) == 0) return each.wound;
  std::fprintf(stderr,
               "TILEWISE_WOUND is %s, which is no wound: give a name from src/core/wound.h.\n",
               name);
  std::abort();
}

}  // namespace

const Wound kInflicted = chosen();

}  // namespace tilewise::core

#endif
