// The list of what the harness checks: series of cases. A series is a source of shapes, a family of
// numbers (family.h) and a type; a seed makes one case of it. A tier takes as many cases of each
// series as its time allows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/case.h"
#include "conformance/report.h"

namespace tilewise::conformance {

enum class Source {
  kRandom,  // all features in random combinations, small sizes
  kMuseum,  // lengths and dims at which others have failed
  kLong     // needles among up to 65,536 keys
};

[[nodiscard]] const char* name_of(Source source);

struct Series {
  Source source = Source::kRandom;
  Family family = Family::kGauss;
  tw_dtype dtype = TW_FLOAT32;

  [[nodiscard]] std::string name() const;  // "museum/gauss/float32"
  [[nodiscard]] Case draw(std::uint64_t seed) const;
  [[nodiscard]] Report check(const Case& drawn) const;
  // Roughly the seconds that a case takes on one core of an ordinary machine.
  [[nodiscard]] double cost(const Case& drawn) const;
  // The number of cases; kRandom has no end and takes this many if there is time.
  [[nodiscard]] std::uint64_t count() const;
};

[[nodiscard]] const std::vector<Series>& all_series();
// The series whose name is `name`, or begins with `name` and a slash; all if `name` is empty.
[[nodiscard]] std::vector<const Series*> series_named(std::string_view name);

// The limit on ||error|| / ||exact|| over the outputs of all cases of a series; only the family
// gauss has one.
[[nodiscard]] std::optional<double> relative_gate(const Series& series);

struct Tier {
  const char* name;
  double seconds;  // for the whole list
  double a_case;   // dearer cases are left out
};
[[nodiscard]] const std::vector<Tier>& all_tiers();
[[nodiscard]] const Tier* tier_named(std::string_view name);

// One case of the list.
struct Pick {
  const Series* series = nullptr;
  std::uint64_t seed = 0;
  double cost = 0;
};
[[nodiscard]] std::vector<Pick> pick(const std::vector<const Series*>& list, const Tier& tier);

}  // namespace tilewise::conformance
