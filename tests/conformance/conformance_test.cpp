// Checks the cases that the tier TILEWISE_TIER takes of every series (series.h). TILEWISE_CASE, the
// name of a series, and TILEWISE_SEED run one case alone; a failure prints both values.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>

#include "conformance/coverage.h"
#include "conformance/sweep.h"

namespace tilewise::conformance {
namespace {

std::string environment(const char* name, const char* otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : text;
}

std::vector<Pick> wanted_picks(const Tier& tier) {
  const std::vector<const Series*> list = series_named(environment("TILEWISE_CASE", ""));
  const std::string seed = environment("TILEWISE_SEED", "");
  if (seed.empty()) return pick(list, tier);
  std::vector<Pick> picks;
  char* end = nullptr;
  const std::uint64_t number = std::strtoull(seed.c_str(), &end, 10);
  if (*end != 0 || seed.front() == '-') throw std::runtime_error("TILEWISE_SEED is no number");
  for (const Series* series : list) picks.push_back({series, number, 0});
  return picks;
}

struct Total {
  Report report;
  std::int64_t cases = 0;
};

void print(const std::map<std::string, Total>& totals) {
  std::printf("%-28s %6s %11s  %-8s %-8s\n", "series", "cases", "numbers", "rel-RMSE", "of bound");
  for (const auto& [name, total] : totals) {
    std::printf(
        "%-28s %6lld %11lld  %.2e %.2f at %s\n", name.c_str(), static_cast<long long>(total.cases),
        static_cast<long long>(total.report.compared()), total.report.of(Part::kOutput).relative(),
        total.report.worst(), total.report.worst_where().c_str());
  }
}

TEST(Conformance, EverySeriesStaysWithinItsBound) {
  const Tier* tier = tier_named(environment("TILEWISE_TIER", "quick"));
  ASSERT_NE(tier, nullptr) << "TILEWISE_TIER names no tier";
  const std::vector<Pick> picks = wanted_picks(*tier);
  ASSERT_FALSE(picks.empty()) << "TILEWISE_CASE names no series";
  std::map<std::string, Total> totals;
  double predicted = 0;
  const auto start = std::chrono::steady_clock::now();
  sweep(picks, static_cast<int>(std::thread::hardware_concurrency()),
        [&](const Pick& one, const Report& report) {
          EXPECT_TRUE(report.ok()) << replay_line(one) << report.sentences();
          EXPECT_EQ(report.refusal(), "") << replay_line(one);
          Total& total = totals[one.series->name()];
          total.report.merge(report);
          ++total.cases;
          predicted += one.cost;
        });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  print(totals);
  std::printf("tier %s: %zu cases of %zu series in %.1f s, %.1f s predicted for one core\n",
              tier->name, picks.size(), totals.size(), took.count(), predicted);
  for (const auto& [name, total] : totals) {
    EXPECT_GT(total.report.compared(), 0) << name;
    const std::optional<double> gate = relative_gate(*series_named(name).front());
    if (!gate) continue;
    EXPECT_LE(total.report.of(Part::kOutput).relative(), *gate) << name;
  }
}

}  // namespace
}  // namespace tilewise::conformance
