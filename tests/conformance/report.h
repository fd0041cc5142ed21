// The comparison of a call's results with the wanted ones, as error / bound: 1 is the limit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "conformance/field.h"

namespace tilewise::conformance {

// The results of a call.
enum class Part {
  kOutput,
  kLse,
  kProbabilities,
  kQueryGradient,
  kKeyGradient,
  kValueGradient,
  kBiasGradient,
  kSlopesGradient,
  kSinksGradient,
  kRotated,
  kCachedKey,
  kCachedValue
};
inline constexpr std::size_t kParts = 12;
[[nodiscard]] const char* name_of(Part part);

// How well one result agrees.
struct Agreement {
  double worst = 0;  // (error - rounding) / allowed, the largest of all comparisons
  Index where = {};  // of the worst
  double error_squares = 0, exact_squares = 0;
  std::int64_t compared = 0;

  // ||error|| / ||exact||
  [[nodiscard]] double relative() const;
  void merge(const Agreement& other);
};

// One number compared with the wanted one.
struct Comparison {
  double got = 0, want = 0;
  double allowed = 0;   // what it may have been off before it was stored; 0: not at all
  double rounding = 0;  // what storing it may have added
};

class Report {
 public:
  void add(Part part, const Index& at, const Comparison& numbers);
  void fail(const std::string& sentence);
  // Notes why no backend here can run the case, which is no failure.
  void decline(const std::string& sentence) { refusal_ = sentence; }
  void merge(const Report& other);

  [[nodiscard]] bool ok() const { return failed_ == 0; }
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] std::int64_t failed() const { return failed_; }
  // Sentences on the first few failures, one a line.
  [[nodiscard]] std::string sentences() const;
  [[nodiscard]] std::int64_t compared() const;
  [[nodiscard]] double worst() const;
  // "key gradient(0, 3, 1, 5)"
  [[nodiscard]] std::string worst_where() const;
  [[nodiscard]] const Agreement& of(Part part) const {
    return agreements_[static_cast<std::size_t>(part)];
  }

 private:
  static constexpr std::size_t kMostSentences = 8;

  [[nodiscard]] std::size_t worst_part() const;

  std::array<Agreement, kParts> agreements_;
  std::vector<std::string> sentences_;
  std::string refusal_;
  std::int64_t failed_ = 0;
};

}  // namespace tilewise::conformance
