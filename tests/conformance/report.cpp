#include "conformance/report.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>

namespace tilewise::conformance {
namespace {

std::string place(Part part, const Index& at) {
  std::ostringstream text;
  text << name_of(part) << '(' << at[0] << ", " << at[1] << ", " << at[2] << ", " << at[3] << ')';
  return text.str();
}

double ratio_of(const Comparison& numbers) {
  if (numbers.got == numbers.want) return 0;
  const double error = std::fabs(numbers.got - numbers.want) - numbers.rounding;
  if (error <= 0) return 0;
  // A NaN compares false with everything, so it counts as infinitely wrong.
  const double ratio = error / numbers.allowed;
  return std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
}

}  // namespace

const char* name_of(Part part) {
  constexpr const char* kNames[kParts] = {
      "output",         "lse",           "probability",     "query gradient", "key gradient",
      "value gradient", "bias gradient", "slopes gradient", "sinks gradient", "rotated row",
      "cached key",     "cached value"};
  return kNames[static_cast<std::size_t>(part)];
}

double Agreement::relative() const {
  return exact_squares > 0 ? std::sqrt(error_squares / exact_squares) : std::sqrt(error_squares);
}

void Agreement::merge(const Agreement& other) {
  if (other.worst > worst) {
    worst = other.worst;
    where = other.where;
  }
  error_squares += other.error_squares;
  exact_squares += other.exact_squares;
  compared += other.compared;
}

void Report::add(Part part, const Index& at, const Comparison& numbers) {
  const auto [got, want, allowed, rounding] = numbers;
  const double ratio = ratio_of(numbers);
  Agreement one{.worst = ratio, .where = at, .compared = 1};
  if (std::isfinite(want) && std::isfinite(got)) {
    one.error_squares = (got - want) * (got - want);
    one.exact_squares = want * want;
  }
  agreements_[static_cast<std::size_t>(part)].merge(one);
  if (ratio <= 1) return;
  std::ostringstream text;
  text << place(part, at) << std::setprecision(17) << " is " << got << " instead of " << want
       << std::setprecision(3);
  if (allowed > 0) text << ", " << ratio << " times what is allowed";
  fail(text.str());
}

void Report::fail(const std::string& sentence) {
  ++failed_;
  if (sentences_.size() < kMostSentences) sentences_.push_back(sentence);
}

void Report::merge(const Report& other) {
  for (std::size_t part = 0; part < kParts; ++part) {
    agreements_[part].merge(other.agreements_[part]);
  }
  for (const std::string& sentence : other.sentences_) {
    if (sentences_.size() < kMostSentences) sentences_.push_back(sentence);
  }
  failed_ += other.failed_;
  if (refusal_.empty()) refusal_ = other.refusal_;
}

std::string Report::sentences() const {
  std::ostringstream text;
  for (const std::string& sentence : sentences_) text << "\n  " << sentence;
  const auto told = static_cast<std::int64_t>(sentences_.size());
  if (failed_ > told) text << "\n  and " << failed_ - told << " more";
  return text.str();
}

std::int64_t Report::compared() const {
  std::int64_t count = 0;
  for (const Agreement& each : agreements_) count += each.compared;
  return count;
}

std::size_t Report::worst_part() const {
  const auto* const worst =
      std::max_element(agreements_.begin(), agreements_.end(),
                       [](const Agreement& a, const Agreement& b) { return a.worst < b.worst; });
  return static_cast<std::size_t>(worst - agreements_.begin());
}

double Report::worst() const {
  return agreements_[worst_part()].worst;
}

std::string Report::worst_where() const {
  const std::size_t part = worst_part();
  return place(static_cast<Part>(part), agreements_[part].where);
}

}  // namespace tilewise::conformance
