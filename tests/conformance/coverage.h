// Which features a case has, and whether every two of them have met.
#pragma once

#include <bitset>
#include <cstddef>
#include <string>
#include <vector>

#include "conformance/case.h"

namespace tilewise::conformance {

inline constexpr std::size_t kMostFeatures = 64;
using Features = std::bitset<kMostFeatures>;

[[nodiscard]] Features features_of(const Case& drawn);

class Coverage {
 public:
  void add(const Features& features);

  [[nodiscard]] std::size_t met() const;
  [[nodiscard]] std::size_t possible() const;
  // "paged keys with sinks", for every two that could have met and did not.
  [[nodiscard]] std::vector<std::string> missing() const;

 private:
  Features met_[kMostFeatures];
};

}  // namespace tilewise::conformance
