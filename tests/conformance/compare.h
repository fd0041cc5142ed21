// Holds what a call wrote against what the oracle says, and what it must not have written against
// what was there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "conformance/case.h"
#include "conformance/expected.h"
#include "conformance/setup.h"

namespace tilewise::conformance {

class Report {
 public:
  // An error in units of what is allowed, so that 1 is the limit.
  void add(const std::string& where, double got, double want, double allowed);
  // For the infinities and zeros that leave no room.
  void add_exact(const std::string& where, double got, double want);
  void fail(const std::string& sentence);

  [[nodiscard]] bool ok() const { return failed_ == 0; }
  [[nodiscard]] std::string sentences() const;
  [[nodiscard]] std::int64_t compared() const { return compared_; }
  [[nodiscard]] double worst() const { return worst_; }
  [[nodiscard]] const std::string& worst_where() const { return worst_where_; }
  void merge(const Report& other);

 private:
  static constexpr std::size_t kMostSentences = 8;

  std::vector<std::string> sentences_;
  std::int64_t failed_ = 0, compared_ = 0;
  double worst_ = 0;
  std::string worst_where_;
};

// Float64 results within 1e-12 of natural size.
inline constexpr double kTolerance = 1e-12;
void compare_forward(const Case& drawn, const Setup& setup, const Expected& expected,
                     Report& report);
void compare_probabilities(const Case& drawn, const Setup& setup, const Expected& expected,
                           Report& report);
void compare_gradients(const Case& drawn, const Setup& setup, const Expected& expected,
                       Report& report);

// Marks what each output's sequences own; the rest must keep its bits.
void own_outputs(const Case& drawn, Setup& setup);
void check_untouched(const std::vector<Setup::Named>& outputs, Setup& setup, Report& report);

}  // namespace tilewise::conformance
