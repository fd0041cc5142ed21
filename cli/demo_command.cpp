// `tilewise demo`: its options, and its report as JSON.
#include <memory>

#include "cli/command.h"
#include "cli/core/json.h"
#include "cli/core/machine.h"
#include "cli/core/terminal.h"
#include "cli/demo.h"
#include "cli/options.h"

namespace tilewise::cli {
namespace {

struct Options {
  std::optional<std::int64_t> length;
  std::string dtype = "float32";
  ExecutionOptions execution;
  bool json = false;
};

Json to_json(const std::vector<Agreement>& all) {
  Json list = Json::array();
  for (const Agreement& one : all) {
    // An infinite error becomes null, because JSON has no infinity.
    list.push_back({{"name", one.name},
                    {"worst", one.worst},
                    {"relative_error", one.relative},
                    {"elements", one.elements}});
  }
  return list;
}

Json to_json(const Case& shape, bool backward, const DirectionReport& report) {
  return {{"seconds", report.timing.median},
          {"spread", report.timing.spread},
          {"runs", report.timing.runs},
          {"gflops", gflops(shape, backward, report)},
          {"workspace_bytes", report.workspace_bytes},
          {"peak_resident_bytes", report.peak_bytes}};
}

Json plan_json(const std::string& text) {
  return parse_json(text).value_or(Json(text));
}

void show_json(const DemoReport& report) {
  const Machine machine = this_machine();
  const Sizes& sizes = report.large.sizes;
  const Json json{
      {"version", tw_version()},
      {"device", report.device.text()},
      {"machine", {{"processor", machine.processor}, {"threads", machine.threads}}},
      {"problem",
       {{"batch", sizes.batch},
        {"heads", sizes.heads},
        {"key_heads", sizes.key_heads},
        {"length", sizes.queries},
        {"dim", sizes.dim},
        {"dtype", report.large.dtype},
        {"causal", true}}},
      {"plans", Json::Array{plan_json(report.forward_plan), plan_json(report.backward_plan)}},
      {"proof", {{"whole", to_json(report.whole)}, {"sampled", to_json(report.sampled)}}},
      {"forward", to_json(report.large, false, report.forward)},
      {"backward", to_json(report.large, true, report.backward)},
      {"operand_bytes", report.operand_bytes},
      {"score_matrix_bytes", score_matrix_bytes(report.large)},
      {"seconds", report.total_seconds},
      {"proved", is_proved(report)}};
  print(indented_json(json) + "\n");
}

ExitStatus run(const Options& options) {
  const DemoReport report = demonstrate({.length = options.length.value_or(0),
                                         .dtype = options.dtype,
                                         .device = options.execution.device,
                                         .backend = options.execution.backend,
                                         .threads = options.execution.threads(),
                                         .plans = options.json ? TW_JSON : TW_TEXT});
  options.json ? show_json(report) : show(report);
  return is_proved(report) ? kOk : kFailed;
}

}  // namespace

Command demo_command() {
  const auto options = std::make_shared<Options>();
  std::vector<Option> table{
      {"--length", "Rows; without, what this machine does in seconds",
       Integer{&options->length, 64, 1 << 20}, "NUMBER"},
      {"--dtype", "The type of the elements; float32 when not given", &options->dtype, "DTYPE"}};
  options->execution.add_to(table);
  table.push_back({"--json", "As JSON", &options->json, ""});
  return {"demo", "Attention forward and backward on this machine: proved, timed and weighed",
          "Exit status 0 says that every result was proved, 1 that one was wrong.", table,
          [options] { return run(*options); }};
}

}  // namespace tilewise::cli
