#include "cli/bench_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/machine.h"
#include "cli/terminal.h"

namespace tilewise::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string_view direction_name(tw_operation operation) {
  return operation == TW_BACKWARD ? "backward" : "forward";
}

double gflops(const Measurement& result) {
  const bool backward = result.operation == TW_BACKWARD;
  return result.timing.median > 0 ? operations(result.shape, backward) / result.timing.median / 1e9
                                  : 0;
}

bool belong_together(const Measurement& a, const Measurement& b) {
  return a.shape.name == b.shape.name && a.operation == b.operation;
}

// How many times as fast the first backend of the same case and direction is.
std::optional<double> ratio(const std::vector<Measurement>& results, const Measurement& result) {
  const auto first = std::find_if(results.begin(), results.end(), [&](const Measurement& other) {
    return belong_together(other, result) && !other.refusal;
  });
  if (result.refusal || first == results.end() || first->timing.median <= 0) return std::nullopt;
  return result.timing.median / first->timing.median;
}

void show_json(const std::vector<Measurement>& results) {
  const Machine machine = this_machine();
  Json json{{"machine",
             {{"processor", machine.processor},
              {"threads", machine.threads},
              {"memory_bytes", machine.memory_bytes},
              {"system", machine.system}}},
            {"version", tw_version()},
            {"cases", Json::array()}};
  for (const Measurement& result : results) {
    Json row{{"name", result.shape.name},
             {"dtype", result.shape.dtype},
             {"direction", direction_name(result.operation)},
             {"causal", result.shape.mask.is_causal()},
             {"backend", result.backend}};
    if (result.refusal) {
      row["refused"] = *result.refusal;
    } else {
      row["seconds"] = result.timing.median;
      row["spread"] = result.timing.spread;
      row["runs"] = result.timing.runs;
      row["gflops"] = gflops(result);
      row["operand_bytes"] = result.operand_bytes;
      row["workspace_bytes"] = result.workspace_bytes;
      row["ratio"] = ratio(results, result).value_or(1);
    }
    json["cases"].push_back(std::move(row));
  }
  print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::vector<std::string> figures(const std::vector<Measurement>& results,
                                 const Measurement& result) {
  if (result.refusal) return {"declines", "", "", "", "", ""};
  const auto times = ratio(results, result);
  return {seconds(result.timing.median),         spread_text(result.timing),
          fmt::format("{}", result.timing.runs), number(gflops(result)),
          bytes(result.workspace_bytes),         times ? number(*times) : ""};
}

std::string size_text(const Case& shape) {
  const Sizes& sizes = shape.sizes;
  const std::string lengths = sizes.is_packed()
                                  ? fmt::format("{} packed", fmt::join(sizes.query_lengths, "+"))
                                  : fmt::format("{} x {}", sizes.queries, sizes.keys);
  return fmt::format("{} of {}", lengths,
                     sizes.dim == sizes.value_dim
                         ? fmt::format("{}", sizes.dim)
                         : fmt::format("{}/{}", sizes.dim, sizes.value_dim));
}

}  // namespace

void show_measurements(const std::vector<Measurement>& results, bool json) {
  if (json) return show_json(results);
  Table table("llllrrrrrr");
  table.add({"case", "dtype", "direction", "backend", "median", "spread", "runs", "GFLOP/s",
             "workspace", "time ratio"});
  const Measurement* before = nullptr;
  for (const Measurement& result : results) {
    const bool is_new = before == nullptr || !belong_together(*before, result);
    std::vector<std::string> row{is_new ? result.shape.name : "", is_new ? result.shape.dtype : "",
                                 is_new ? std::string(direction_name(result.operation)) : "",
                                 result.backend};
    for (std::string& figure : figures(results, result)) row.push_back(std::move(figure));
    table.add(std::move(row));
    before = &result;
  }
  print(table.text());
  for (const Measurement& result : results) {
    if (result.refusal) {
      print(
          fmt::format("{} declines {}: {}\n", result.backend, result.shape.name, *result.refusal));
    }
  }
}

void show_cases(bool json) {
  if (json) {
    Json list = Json::array();
    for (const Case& shape : all_cases()) {
      list.push_back(
          {{"name", shape.name}, {"tier", tier_name(shape.tier)}, {"about", shape.about}});
    }
    print(list.dump(2) + "\n");
    return;
  }
  Table table("lllrll");
  table.add({"case", "tier", "dtype", "heads", "queries x keys of dim", "about"});
  for (const Case& shape : all_cases()) {
    table.add({shape.name, std::string(tier_name(shape.tier)), shape.dtype,
               fmt::format("{}/{}", shape.sizes.heads, shape.sizes.key_heads), size_text(shape),
               shape.about});
  }
  print(table.text());
}

}  // namespace tilewise::cli
