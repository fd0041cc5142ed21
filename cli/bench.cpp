// `tilewise bench`: the backends against each other on the cases of the list.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/element.h"
#include "cli/machine.h"
#include "cli/nearest.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/workload.h"

namespace tilewise::cli {
namespace {

struct Options {
  std::vector<std::string> cases, backends;
  std::string direction = "both", dtype, tier = "usual";
  double seconds = 1;
  std::int32_t threads = 0;
  bool list = false, json = false;
};

std::vector<Case> chosen_cases(const Options& options) {
  std::vector<Case> cases;
  try {
    for (const std::string& name : options.cases) cases.push_back(find_case(name));
  } catch (const std::invalid_argument& error) {
    throw Failure(kUsage, error.what());
  }
  if (options.cases.empty()) {
    for (const Case& shape : all_cases()) {
      if (options.tier == "all" || tier_name(shape.tier) == options.tier) cases.push_back(shape);
    }
  }
  if (cases.empty()) {
    throw Failure(kUsage, no_such("tier", options.tier, {"quick", "usual", "long", "all"}));
  }
  for (Case& shape : cases) {
    if (!options.dtype.empty()) shape.dtype = options.dtype;
  }
  return cases;
}

std::vector<std::string> chosen_backends(const Options& options) {
  const std::vector<std::string> known = backend_names();
  for (const std::string& name : options.backends) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Failure(kUsage, no_such("backend", name, known));
    }
  }
  return options.backends.empty() ? known : options.backends;
}

std::vector<tw_operation> chosen_directions(const std::string& direction) {
  if (direction == "forward") return {TW_FORWARD};
  if (direction == "backward") return {TW_BACKWARD};
  if (direction == "both") return {TW_FORWARD, TW_BACKWARD};
  throw Failure(kUsage, no_such("direction", direction, {"forward", "backward", "both"}));
}

// A backend that declines is a row of the table, not the end of the benchmark.
Measurement measure_backend(const Case& shape, tw_operation operation, const std::string& backend,
                            const Options& options) {
  Measurement result{shape, operation, backend, {}, 0, 0, std::nullopt};
  const BackendChoice choice(backend);
  Workload work(shape, operation == TW_BACKWARD, 1);
  Runner runner(options.threads);
  result.operand_bytes = work.operand_bytes();
  try {
    if (operation == TW_BACKWARD) {
      runner.prepare(TW_FORWARD, work.call());
      runner.run(TW_FORWARD, work.call());
    }
    result.workspace_bytes = static_cast<double>(runner.prepare(operation, work.call()));
    result.timing = measure(operation, work.call(), runner, options.seconds);
  } catch (const Failure& failure) {
    if (failure.status() != kUnsupported) throw;
    result.refusal = failure.what();
  }
  return result;
}

std::vector<Measurement> measure_all(const std::vector<Case>& cases, const Options& options) {
  const auto backends = chosen_backends(options);
  const auto directions = chosen_directions(options.direction);
  std::vector<Measurement> results;
  Progress progress("bench",
                    static_cast<double>(cases.size() * backends.size() * directions.size()));
  for (const Case& shape : cases) {
    for (const tw_operation operation : directions) {
      for (const std::string& backend : backends) {
        progress.advance(0, fmt::format("{} {}", shape.name, backend));
        results.push_back(measure_backend(shape, operation, backend, options));
        progress.advance(1);
      }
    }
  }
  return results;
}

ExitStatus run(const Options& options) {
  if (options.list) {
    show_cases(options.json);
    return kOk;
  }
  const std::vector<Case> cases = chosen_cases(options);
  for (const Case& shape : cases) require_elements(dtype_from_name(shape.dtype));
  const std::vector<Measurement> results = measure_all(cases, options);
  show_measurements(results, options.json);
  const bool has_any = std::any_of(results.begin(), results.end(),
                                   [](const Measurement& result) { return !result.refusal; });
  if (!has_any) throw Failure(kUnsupported, *results.front().refusal);
  return kOk;
}

}  // namespace

void add_bench(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("bench", "Time the backends against each other");
  command.add_option("--case", options->cases, "Only these cases; may be given several times")
      ->type_name("CASE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--tier", options->tier, "Without --case, the cases of this tier; usual")
      ->type_name("{quick,usual,long,all}");
  command.add_option("--direction", options->direction, "Which way; both when not given")
      ->type_name("{forward,backward,both}");
  command.add_option("--dtype", options->dtype, "This type in place of each case's own")
      ->type_name("DTYPE");
  command.add_option("--backend", options->backends, "Only these; may be given several times")
      ->type_name("BACKEND")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--seconds", options->seconds, "To spend on each figure; 1 when not given")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 3600.0).description(""));
  command.add_option("--threads", options->threads, "At most this many; 0: all")
      ->type_name("NUMBER")
      ->check(CLI::Range(0, 4096).description(""));
  command.add_flag("--list", options->list, "Show the list of cases instead");
  command.add_flag("--json", options->json, "As JSON");
  command.footer(
      "GFLOP/s count visible pairs alone: 4 operations a pair and dimension forward, 10 backward.\n"
      "Example: tilewise bench --case causal-1024 --direction forward --seconds 3");
  command.callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace tilewise::cli
