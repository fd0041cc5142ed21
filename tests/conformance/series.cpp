#include "conformance/series.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "conformance/check.h"
#include "conformance/number.h"

namespace tilewise::conformance {
namespace {

constexpr std::array kDtypes = {TW_FLOAT64,  TW_FLOAT32,     TW_FLOAT16,
                                TW_BFLOAT16, TW_FLOAT8_E4M3, TW_FLOAT8_E5M2};
constexpr double kForever = std::numeric_limits<double>::infinity();

std::vector<Series> make_list() {
  std::vector<Series> list;
  for (const Source source : {Source::kRandom, Source::kMuseum}) {
    for (const Family family : kFamilies) {
      for (const tw_dtype dtype : kDtypes) list.push_back({source, family, dtype});
    }
  }
  for (const tw_dtype dtype : kDtypes) list.push_back({Source::kLong, Family::kNeedle, dtype});
  return list;
}

// The seed of a series' first case. Each series of random and museum begins at another seed, so
// that the first cases of different series differ in size: a short tier takes only few of each.
std::uint64_t first_of(const Series& series) {
  const auto family = static_cast<std::uint64_t>(series.family);
  const auto dtype = static_cast<std::uint64_t>(series.dtype);
  const std::uint64_t place = family * kDtypes.size() + dtype;
  if (series.source == Source::kLong) return 0;
  return series.source == Source::kRandom ? 1 + 100000 * place : 9 * place;
}

double scores_of(const Case& drawn) {
  double scores = 0;
  for (std::int64_t b = 0; b < drawn.batch; ++b) {
    scores += static_cast<double>(drawn.queries.length(b) * drawn.keys.length(b));
  }
  return scores * static_cast<double>(drawn.heads);
}

// Elements of query, key, value and output. A case without queries has many, but no score.
double elements_of(const Case& drawn) {
  double rows = 0;
  for (const std::int64_t each : drawn.queries.capacity) {
    rows += static_cast<double>(each * drawn.heads);
  }
  for (const std::int64_t each : drawn.keys.capacity) {
    rows += static_cast<double>(each * drawn.key_heads);
  }
  return rows * static_cast<double>(drawn.dim + drawn.value_dim);
}

}  // namespace

const char* name_of(Source source) {
  switch (source) {
    case Source::kRandom:
      return "random";
    case Source::kMuseum:
      return "museum";
    case Source::kLong:
      return "long";
  }
  return "";
}

std::string Series::name() const {
  return std::string(name_of(source)) + '/' + name_of(family) + '/' + name_of(dtype);
}

Case Series::draw(std::uint64_t seed) const {
  Case drawn = source == Source::kRandom   ? draw_case(seed)
               : source == Source::kMuseum ? draw_museum_case(seed)
                                           : draw_long_case(seed);
  set_dtype(drawn, dtype);
  // Needles are compared to the bit, and the limit of gauss's relative error depends on the type.
  if (source == Source::kLong || family == Family::kGauss) drawn.dtypes.output = dtype;
  if (source == Source::kLong) drawn.dtypes.has_scaling = false;
  set_family(drawn, family);
  return drawn;
}

Report Series::check(const Case& drawn) const {
  return source == Source::kLong ? check_needles(drawn) : check_case(drawn);
}

std::uint64_t Series::count() const {
  switch (source) {
    case Source::kRandom:
      return 2000;
    case Source::kMuseum:
      return kMuseumPairs;
    case Source::kLong:
      return kLongCases;
  }
  return 0;
}

// A fit to the processor time of harness, oracle and plain backend together.
double Series::cost(const Case& drawn) const {
  const double scores = scores_of(drawn);
  const auto dims = static_cast<double>(drawn.dim + drawn.value_dim);
  if (source == Source::kLong) return scores * dims * 3e-9;
  return 1.5e-3 + scores * (dims * 8e-9 + 1e-6) + elements_of(drawn) * 1e-7;
}

const std::vector<Series>& all_series() {
  static const std::vector<Series> list = make_list();
  return list;
}

std::vector<const Series*> series_named(std::string_view name) {
  std::vector<const Series*> found;
  for (const Series& each : all_series()) {
    const std::string full = each.name();
    const bool is_whole = full.size() == name.size() || name.empty();
    if (full.starts_with(name) && (is_whole || full[name.size()] == '/')) found.push_back(&each);
  }
  return found;
}

std::optional<double> relative_gate(const Series& series) {
  if (series.family != Family::kGauss) return std::nullopt;
  if (series.dtype == TW_FLOAT32) return 7e-7;
  if (series.dtype == TW_FLOAT64) return 7e-7 * 0x1p-29;
  return 0.72 * unit_roundoff(series.dtype);
}

const std::vector<Tier>& all_tiers() {
  static const std::vector<Tier> tiers = {
      {"smoke", 14, 0.06}, {"quick", 50, 0.25}, {"gpu", 600, 1}, {"full", kForever, kForever}};
  return tiers;
}

const Tier* tier_named(std::string_view name) {
  const std::vector<Tier>& tiers = all_tiers();
  const auto found =
      std::find_if(tiers.begin(), tiers.end(), [&](const Tier& each) { return each.name == name; });
  return found == tiers.end() ? nullptr : &*found;
}

std::vector<Pick> pick(const std::vector<const Series*>& list, const Tier& tier) {
  const double share = tier.seconds / static_cast<double>(all_series().size());
  std::vector<Pick> picked;
  for (const Series* series : list) {
    double spent = 0;
    for (std::uint64_t n = 0; n < series->count() && spent < share; ++n) {
      const std::uint64_t seed = first_of(*series) + n;
      const double cost = series->cost(series->draw(seed));
      if (cost > tier.a_case) continue;
      picked.push_back({series, seed, cost});
      spent += cost;
    }
  }
  return picked;
}

}  // namespace tilewise::conformance
