// Which features a case has, and whether each pair of features has occurred in some case.
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
  // The pairs of features, not of one group, that did not occur, such as "paged keys with sinks".
  [[nodiscard]] std::vector<std::string> missing() const;

 private:
  Features met_[kMostFeatures];
};

}  // namespace tilewise::conformance
