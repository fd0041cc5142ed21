// Kinds of numbers in a case. docs/numerics.md says which mistakes each family shows.
#pragma once

#include <array>

namespace tilewise::conformance {

enum class Family {
  kNeedle,   // each query fits one key, by far
  kGauss,    // independent normal numbers
  kOutlier,  // normal, now and then ten times that
  kPeaky,    // scores far apart
  kHub,      // four equal keys that every query likes
  kShift,    // every score moved far down
  kLarge,    // values in the thousands
  kSmall,    // values of about 1e-5
  kOnes,     // all values one
  kLonely,   // every row sees one key, near the end
  kLate      // the first keys are hidden
};

inline constexpr std::array kFamilies = {Family::kNeedle, Family::kGauss, Family::kOutlier,
                                         Family::kPeaky,  Family::kHub,   Family::kShift,
                                         Family::kLarge,  Family::kSmall, Family::kOnes,
                                         Family::kLonely, Family::kLate};

[[nodiscard]] const char* name_of(Family family);

}  // namespace tilewise::conformance
