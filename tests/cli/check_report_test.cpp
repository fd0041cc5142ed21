// What the check makes of reports: one wrong case makes the whole check fail.
#include "cli/check_report.h"

#include <gtest/gtest.h>

#include <limits>

namespace tilewise::cli {
namespace {

using conformance::Part;
using conformance::Pick;
using conformance::Report;

Pick pick_of(const char* name) {
  return {conformance::series_named(name).front(), 101, 0};
}

SeriesResult result_of(const char* name, const std::vector<Report>& reports) {
  SeriesResult result;
  result.name = name;
  for (const Report& each : reports) result.add(pick_of(name), each);
  return result;
}

Report report_of(double got) {
  Report report;
  report.add(Part::kOutput, {0, 1, 2, 3}, {got, 1, 1e-3, 0});
  return report;
}

constexpr const char* kName = "random/hub/float32";

TEST(CheckReport, OneWrongCaseMakesAllWrong) {
  CheckResult result;
  result.series.push_back(result_of(kName, {report_of(1), report_of(1), report_of(1.0005)}));
  EXPECT_TRUE(result.is_exact());
  EXPECT_NEAR(result.series[0].worst, 0.5, 1e-9);
  result.series.push_back(result_of(kName, {report_of(1), report_of(1.01), report_of(1)}));
  EXPECT_FALSE(result.is_exact());
  EXPECT_EQ(result.series[1].failed, 1);
  ASSERT_EQ(result.series[1].findings.size(), 1U);
  EXPECT_EQ(result.series[1].findings[0].replay,
            "tilewise check --case random/hub/float32 --seed 101");
  EXPECT_NE(result.series[1].findings[0].sentences.find("output(0, 1, 2, 3)"), std::string::npos);
}

TEST(CheckReport, NothingComparedIsNotExact) {
  CheckResult result;
  EXPECT_FALSE(result.is_exact());
  result.series.push_back(result_of(kName, {Report()}));
  EXPECT_FALSE(result.is_exact());
}

TEST(CheckReport, WhatIsNoNumberIsTheWorst) {
  const SeriesResult result =
      result_of(kName, {report_of(1), report_of(std::numeric_limits<double>::quiet_NaN())});
  EXPECT_EQ(result.failed, 1);
  EXPECT_EQ(result.worst, std::numeric_limits<double>::infinity());
}

TEST(CheckReport, OutputsOfGaussMustBeCloseTogether) {
  CheckResult result;
  // Each output is within its bound, but the relative error of all is too large.
  result.series.push_back(result_of("random/gauss/float32", {report_of(1.0005)}));
  EXPECT_EQ(result.series[0].failed, 0);
  EXPECT_FALSE(result.series[0].is_close());
  EXPECT_FALSE(result.is_exact());
}

TEST(CheckReport, DeclinedCasesAreCountedApart) {
  Report declined;
  declined.decline("there is no such machine.");
  CheckResult result;
  result.series.push_back(result_of(kName, {declined, declined}));
  EXPECT_TRUE(result.is_declined());
  EXPECT_EQ(result.series[0].refusal, "there is no such machine.");
  result.series.push_back(result_of(kName, {report_of(1)}));
  EXPECT_FALSE(result.is_declined());
}

}  // namespace
}  // namespace tilewise::cli
