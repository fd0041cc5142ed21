#include "conformance/family.h"

#include <algorithm>

namespace tilewise::conformance {

const char* name_of(Family family) {
  switch (family) {
    case Family::kNeedle:
      return "needle";
    case Family::kGauss:
      return "gauss";
    case Family::kOutlier:
      return "outlier";
    case Family::kPeaky:
      return "peaky";
    case Family::kHub:
      return "hub";
    case Family::kShift:
      return "shift";
    case Family::kLarge:
      return "large";
    case Family::kSmall:
      return "small";
    case Family::kOnes:
      return "ones";
    case Family::kLonely:
      return "lonely";
    case Family::kLate:
      return "late";
  }
  return "";
}

std::optional<Family> family_named(std::string_view name) {
  const auto* const found = std::find_if(kFamilies.begin(), kFamilies.end(),
                                         [&](Family each) { return name_of(each) == name; });
  if (found == kFamilies.end()) return std::nullopt;
  return *found;
}

}  // namespace tilewise::conformance
