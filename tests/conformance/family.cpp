#include "conformance/family.h"

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

}  // namespace tilewise::conformance
