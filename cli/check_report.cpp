#include "cli/check_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cli/core/failure.h"
#include "cli/core/json.h"
#include "cli/core/machine.h"
#include "cli/core/terminal.h"
#include "conformance/number.h"
#include "conformance/sweep.h"

namespace tilewise::cli {
namespace {

constexpr std::size_t kMostFindings = 5;

// The two parts of a series' name behind its first '/': "shape/family/dtype".
struct Cell {
  std::string family, dtype;
};

Cell cell_of(const std::string& name) {
  const std::size_t first = name.find('/'), last = name.rfind('/');
  return {name.substr(first + 1, last - first - 1), name.substr(last + 1)};
}

// The series of one cell of the table: one family and one type, all shapes.
struct Pooled {
  double worst = 0, error_squares = 0, exact_squares = 0;
};
using Grid = std::map<std::string, std::map<std::string, Pooled>>;

Grid grid_of(const CheckResult& result) {
  Grid grid;
  for (const SeriesResult& each : result.series) {
    if (each.cases == each.declined) continue;
    const auto [family, dtype] = cell_of(each.name);
    Pooled& cell = grid[family][dtype];
    cell.worst = std::max(cell.worst, each.worst);
    cell.error_squares += each.error_squares;
    cell.exact_squares += each.exact_squares;
  }
  return grid;
}

std::string relative_text(const Pooled& cell) {
  const double squares = cell.exact_squares > 0 ? cell.exact_squares : 1;
  return fmt::format("{:.1e}", std::sqrt(cell.error_squares / squares));
}

template <class Text>
std::string table_of(const Grid& grid, const Text& text) {
  std::vector<std::string> dtypes, head{"family"};
  for (const conformance::Series& each : conformance::all_series()) {
    const std::string dtype = conformance::name_of(each.dtype);
    if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) dtypes.push_back(dtype);
  }
  head.insert(head.end(), dtypes.begin(), dtypes.end());
  Table table("l" + std::string(dtypes.size(), 'r'));
  table.add(head);
  for (const conformance::Family family : conformance::kFamilies) {
    const auto row = grid.find(conformance::name_of(family));
    if (row == grid.end()) continue;
    std::vector<std::string> cells{row->first};
    for (const std::string& dtype : dtypes) {
      const auto cell = row->second.find(dtype);
      cells.push_back(cell == row->second.end() ? "-" : text(cell->second));
    }
    table.add(cells);
  }
  return table.text(2);
}

void show_text(const CheckResult& result) {
  const Grid grid = grid_of(result);
  std::int64_t cases = 0, declined = 0, failed = 0, numbers = 0;
  for (const SeriesResult& each : result.series) {
    cases += each.cases;
    declined += each.declined;
    failed += each.failed;
    numbers += each.numbers;
  }
  print(fmt::format("On {}.\n\n", result.device));
  print("Worst error, in units of its bound (1 is the limit):\n");
  print(table_of(grid, [](const Pooled& cell) { return fmt::format("{:.2f}", cell.worst); }));
  print("\n||error|| / ||exact|| of the outputs:\n");
  print(table_of(grid, relative_text));
  for (const SeriesResult& each : result.series) {
    for (const Finding& finding : each.findings) {
      print(fmt::format("\n{}{}{}\n", finding.replay, result.replay_words, finding.sentences));
    }
    if (!each.is_close()) {
      print(fmt::format("\n{}: outputs are {:.2e} off, taken together.\n", each.name,
                        each.relative()));
    }
  }
  if (declined > 0) print(fmt::format("\n{} cases were declined.\n", declined));
  const std::string verdict =
      result.is_exact() ? styled(Style::kGreen, "exact") : styled(Style::kRed, "WRONG");
  print(fmt::format("\n{}: {} cases of {} series, {} wrong, {:.3g} numbers compared, {}.\n",
                    verdict, cases, result.series.size(), failed, static_cast<double>(numbers),
                    seconds(result.seconds)));
}

Json to_json(const SeriesResult& result) {
  Json json{{"name", result.name},
            {"cases", result.cases},
            {"declined", result.declined},
            {"failed", result.failed},
            {"numbers", result.numbers},
            {"worst", result.worst},
            {"worst_where", result.worst_where},
            {"relative", result.relative()},
            {"seconds", result.seconds},
            {"error_squares", result.error_squares},
            {"exact_squares", result.exact_squares}};
  if (!result.refusal.empty()) json["refusal"] = result.refusal;
  json["findings"] = Json::array();
  for (const Finding& each : result.findings) {
    json["findings"].push_back({{"replay", each.replay}, {"sentences", each.sentences}});
  }
  // JSON has no infinity or NaN. Both are written as a number above every limit.
  if (!std::isfinite(result.worst)) json["worst"] = 1e308;
  return json;
}

SeriesResult from_json(const Json& json) {
  SeriesResult result;
  result.name = json.at("name").get<std::string>();
  result.cases = json.at("cases").get<std::int64_t>();
  result.declined = json.at("declined").get<std::int64_t>();
  result.failed = json.at("failed").get<std::int64_t>();
  result.numbers = json.at("numbers").get<std::int64_t>();
  result.worst = json.at("worst").get<double>();
  result.worst_where = json.at("worst_where").get<std::string>();
  result.seconds = json.at("seconds").get<double>();
  result.error_squares = json.at("error_squares").get<double>();
  result.exact_squares = json.at("exact_squares").get<double>();
  if (const Json* refusal = json.find("refusal")) result.refusal = refusal->get<std::string>();
  for (const Json& each : json.at("findings").values()) {
    result.findings.push_back(
        {each.at("replay").get<std::string>(), each.at("sentences").get<std::string>()});
  }
  return result;
}

void show_json(const CheckResult& result) {
  const Machine machine = this_machine();
  Json json{{"version", tw_version()},    {"processor", machine.processor},
            {"device", result.device},    {"tier", result.tier},
            {"exact", result.is_exact()}, {"seconds", result.seconds},
            {"series", Json::array()}};
  for (const SeriesResult& each : result.series) json["series"].push_back(to_json(each));
  print(indented_json(json) + "\n");
}

}  // namespace

void SeriesResult::add(const conformance::Pick& pick, const conformance::Report& report) {
  ++cases;
  numbers += report.compared();
  if (!report.refusal().empty()) {
    ++declined;
    if (refusal.empty()) refusal = report.refusal();
  }
  if (report.worst() > worst) {
    worst = report.worst();
    worst_where = fmt::format("{} of seed {}", report.worst_where(), pick.seed);
  }
  if (pick.series->draw(pick.seed).dtypes.output == pick.series->dtype) {
    const conformance::Agreement& output = report.of(conformance::Part::kOutput);
    error_squares += output.error_squares;
    exact_squares += output.exact_squares;
  }
  if (report.ok()) return;
  ++failed;
  if (findings.size() < kMostFindings) {
    findings.push_back({conformance::replay_line(pick), report.sentences()});
  }
}

double SeriesResult::relative() const {
  return std::sqrt(error_squares / (exact_squares > 0 ? exact_squares : 1));
}

bool SeriesResult::is_close() const {
  const auto gate = conformance::relative_gate(*conformance::series_named(name).front());
  return !gate || relative() <= *gate;
}

bool CheckResult::is_exact() const {
  return !series.empty() && std::all_of(series.begin(), series.end(), [](const auto& each) {
    return each.failed == 0 && each.is_close() && (each.numbers > 0 || each.declined > 0);
  });
}

bool CheckResult::is_declined() const {
  return std::all_of(series.begin(), series.end(),
                     [](const auto& each) { return each.declined == each.cases; });
}

void show(const CheckResult& result, bool json) {
  json ? show_json(result) : show_text(result);
}

void show_series(bool json) {
  Json list = Json::array();
  std::vector<std::string> head{"series"};
  for (const conformance::Tier& tier : conformance::all_tiers()) head.emplace_back(tier.name);
  Table table("l" + std::string(head.size() - 1, 'r'));
  table.add(head);
  std::map<std::string, std::map<std::string, std::int64_t>> counts;
  for (const conformance::Tier& tier : conformance::all_tiers()) {
    for (const auto& each : conformance::pick(conformance::series_named(""), tier)) {
      ++counts[each.series->name()][tier.name];
    }
  }
  for (const conformance::Series& each : conformance::all_series()) {
    std::vector<std::string> row{each.name()};
    Json cases = Json::object();
    for (const conformance::Tier& tier : conformance::all_tiers()) {
      row.push_back(fmt::format("{}", counts[each.name()][tier.name]));
      cases[tier.name] = counts[each.name()][tier.name];
    }
    table.add(row);
    list.push_back({{"name", each.name()}, {"cases", cases}});
  }
  print(json ? indented_json(list) + "\n" : table.text());
}

std::vector<std::string> series_names() {
  std::vector<std::string> names;
  for (const conformance::Series& each : conformance::all_series()) names.push_back(each.name());
  return names;
}

Journal::Journal(std::string file, const std::string& identity) : file_(std::move(file)) {
  if (file_.empty()) return;
  std::ifstream in(file_);
  std::string line;
  if (!std::getline(in, line)) {
    std::ofstream out(file_);
    out << one_line_json({{"check", identity}}) << "\n";
    if (!out) throw Failure(kUsage, fmt::format("{} cannot be written", file_));
    return;
  }
  const auto head = parse_json(line);
  const Json* check = head ? head->find("check") : nullptr;
  if (check == nullptr || !check->is_string() || check->get<std::string>() != identity) {
    throw Failure(kUsage, fmt::format("{} is no journal of this check ({}); name another file",
                                      file_, identity));
  }
  while (std::getline(in, line)) {
    // A line cut off where the program stopped is a series that is not finished.
    const auto json = parse_json(line);
    if (!json) continue;
    try {
      const SeriesResult result = from_json(*json);
      done_[result.name] = result;
    } catch (const JsonError&) {
      continue;
    }
  }
}

std::optional<SeriesResult> Journal::find(const std::string& name, std::int64_t cases) const {
  const auto found = done_.find(name);
  if (found == done_.end() || found->second.cases != cases) return std::nullopt;
  return found->second;
}

void Journal::append(const SeriesResult& result) {
  if (file_.empty()) return;
  std::ofstream out(file_, std::ios::app);
  out << "\n" << one_line_json(to_json(result)) << "\n";
  if (!out.flush()) throw Failure(kFailed, fmt::format("{} cannot be written", file_));
}

}  // namespace tilewise::cli
