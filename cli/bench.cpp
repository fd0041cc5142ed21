// `tilewise bench`: times the backends and their peers on the cases of the list.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "bench/record.h"
#include "bench/report.h"
#include "cli/command.h"
#include "cli/core/device.h"
#include "cli/core/element.h"
#include "cli/core/nearest.h"
#include "cli/core/progress.h"
#include "cli/core/terminal.h"
#include "cli/options.h"

namespace tilewise::cli {
namespace {

struct CaseOptions {
  std::vector<std::string> names, tiers;
  std::string dtype;
};

struct Options {
  CaseOptions cases;
  std::vector<std::string> backends;
  std::string direction = "both", layout = "heads", device, record;
  std::optional<double> seconds;
  std::optional<std::int64_t> threads;
  bool list = false, json = false, has_no_peers = false;
};

std::vector<std::string> chosen_tiers(const CaseOptions& options) {
  if (options.tiers.empty()) return {"usual"};
  std::vector<std::string> known = tier_names();
  for (const std::string& tier : options.tiers) {
    if (tier == "all") return known;
    if (std::find(known.begin(), known.end(), tier) == known.end()) {
      known.emplace_back("all");
      throw Failure(kUsage, no_such("tier", tier, known));
    }
  }
  return options.tiers;
}

std::vector<Case> chosen_cases(const CaseOptions& options) {
  std::vector<Case> cases;
  try {
    for (const std::string& name : options.names) cases.push_back(find_case(name));
  } catch (const std::invalid_argument& error) {
    throw Failure(kUsage, error.what());
  }
  if (options.names.empty()) {
    const std::vector<std::string> tiers = chosen_tiers(options);
    for (const Case& shape : all_cases()) {
      const auto is_of = [&](const std::string& tier) { return tier == tier_name(shape.tier); };
      if (std::any_of(tiers.begin(), tiers.end(), is_of)) cases.push_back(shape);
    }
  }
  for (Case& shape : cases) {
    if (!options.dtype.empty()) shape.dtype = options.dtype;
  }
  return cases;
}

std::vector<std::string> known_backends(const Options& options) {
  std::vector<std::string> known = backend_names();
  for (const std::string& name : options.backends) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Failure(kUsage, no_such("backend", name, known));
    }
  }
  return known;
}

// The one device on which all backends run. Without --device the first backend named decides it.
Device device_of(const Options& options) {
  const std::string first = options.backends.empty() ? "" : options.backends.front();
  return chosen_device(
      {options.device, first, static_cast<std::int32_t>(options.threads.value_or(0))});
}

// The backends that were asked for, or all of the device.
std::vector<std::string> chosen_backends(const Options& options, const Device& device) {
  std::vector<std::string> chosen;
  const std::vector<std::string> known = known_backends(options);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(known.size()); ++i) {
    const std::string& name = known[static_cast<std::size_t>(i)];
    const bool is_here = tw_backend_device(i) == device.id.kind;
    const bool is_asked =
        std::find(options.backends.begin(), options.backends.end(), name) != options.backends.end();
    if (is_asked && !is_here) {
      throw Failure(kUsage, fmt::format("the backend {} does not run on {}, where the others do; "
                                        "measure it in a run of its own",
                                        name, device.name()));
    }
    if (is_here && (is_asked || options.backends.empty())) chosen.push_back(name);
  }
  return chosen;
}

std::vector<tw_operation> chosen_directions(const std::string& direction) {
  if (direction == "forward") return {TW_FORWARD};
  if (direction == "backward") return {TW_BACKWARD};
  if (direction == "both") return {TW_FORWARD, TW_BACKWARD};
  throw Failure(kUsage, no_such("direction", direction, {"forward", "backward", "both"}));
}

TensorLayout chosen_layout(const std::string& layout) {
  if (layout == "heads") return TensorLayout::kHeads;
  if (layout == "rows") return TensorLayout::kRows;
  throw Failure(kUsage, no_such("layout", layout, {"heads", "rows"}));
}

std::vector<Measurement> measure_all(const std::vector<Case>& cases, Bench& bench,
                                     std::size_t steps_a_case) {
  std::vector<Measurement> results;
  Progress progress("bench", static_cast<double>(cases.size() * steps_a_case));
  double step = 0;  // what the bar advances when the next step begins: 0 before the first one
  for (const Case& shape : cases) {
    for (Measurement& each : bench.measure(shape, [&](const std::string& what) {
           progress.advance(step, what);
           step = 1;
         })) {
      results.push_back(std::move(each));
    }
  }
  progress.advance(step);
  return results;
}

ExitStatus run(const Options& options) {
  if (options.list) {
    show_cases(options.json);
    return kOk;
  }
  const std::vector<Case> cases = chosen_cases(options.cases);
  for (const Case& shape : cases) require_elements(dtype_from_name(shape.dtype));
  (void)known_backends(options);
  const Device device = device_of(options);
  const BenchSettings settings{.device = device,
                               .backends = chosen_backends(options, device),
                               .directions = chosen_directions(options.direction),
                               .seconds = options.seconds.value_or(1),
                               .threads = static_cast<std::int32_t>(options.threads.value_or(0)),
                               .layout = chosen_layout(options.layout),
                               .has_peers = !options.has_no_peers};
  if (!options.record.empty()) {
    prepare_record(options.record, machine_json(usable_threads(settings.threads), device));
  }
  Bench bench(settings);
  const std::vector<Measurement> results = measure_all(cases, bench, settings.directions.size());
  const Json report = bench_json(bench, results);
  if (options.json) {
    print(indented_json(report) + "\n");
  } else {
    show_measurements(bench, results);
  }
  const bool has_any = std::any_of(results.begin(), results.end(),
                                   [](const Measurement& result) { return !result.refusal; });
  if (!has_any) throw Failure(kUnsupported, *results.front().refusal);
  if (!options.record.empty()) record(options.record, report);
  return kOk;
}

}  // namespace

Command bench_command() {
  const auto options = std::make_shared<Options>();
  return {
      "bench",
      "Time the backends against each other and against peers",
      "GFLOP/s count visible pairs alone: 4 operations a pair and dimension forward, 10 backward.\n"
      "Of peak: of what the processor's multiply-adds reach, measured before and after each case;\n"
      "on a GPU, of multiprocessors x highest clock x what one does a clock.\n"
      "Of reads: of memory's read bandwidth. x PEER: how many times as fast as that we are.\n"
      "Layout: heads is (batch, heads, length, dim), as torch and openblas have theirs; rows is\n"
      "(batch, length, heads, dim), as onnxruntime has.\n"
      "Peers: torch and onnxruntime through TILEWISE_PYTHON or else python3, matmuls over "
      "OpenBLAS\n"
      "(TILEWISE_OPENBLAS or else libopenblas.so.0); on a GPU torch's flash, cudnn, efficient and\n"
      "math. One that is silent for "
      "TILEWISE_PEER_SECONDS,\n"
      "120, is given up. --record writes TILEWISE_COMMIT beside the figures.\n"
      "Example: tilewise bench --case causal-1024 --direction forward --seconds 3",
      {{"--case", "Only these cases; may be given several times", &options->cases.names, "CASE"},
       {"--tier", "Without --case, the cases of this tier; usual", &options->cases.tiers,
        "{quick,usual,long,bars,lengths,gpu,all}"},
       {"--direction", "Which way; both when not given", &options->direction,
        "{forward,backward,both}"},
       {"--dtype", "This type in place of each case's own", &options->cases.dtype, "DTYPE"},
       {"--layout", "How our tensors lie; heads when not given", &options->layout, "{heads,rows}"},
       device_option(&options->device),
       {"--backend", "Only these; may be given several times", &options->backends, "BACKEND"},
       {"--seconds", "To spend on each figure; 1 when not given", Real{&options->seconds, 0, 3600},
        "SECONDS"},
       {"--threads", "At most this many, on the processor; 0: all",
        Integer{&options->threads, 0, 4096}, "NUMBER"},
       {"--no-peers", "Leave out what others have written", &options->has_no_peers, ""},
       {"--record", "Add a line to this folder's file of the machine", &options->record, "FOLDER"},
       {"--list", "Show the list of cases instead", &options->list, ""},
       {"--json", "As JSON", &options->json, ""}},
      [options] { return run(*options); }};
}

}  // namespace tilewise::cli
