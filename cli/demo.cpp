#include "cli/demo.h"

#include <fmt/core.h>

#include <chrono>

#include "cli/core/element.h"
#include "cli/core/machine.h"
#include "cli/core/progress.h"
#include "cli/core/upload.h"
#include "cli/core/workload.h"

namespace tilewise::cli {
namespace {

constexpr std::int64_t kSmallLength = 320;  // all of its rows are proved
constexpr std::int64_t kBandRows = 16;
constexpr std::uint64_t kSeed = 1;     // of the random numbers
constexpr double kSecondsARound = 2;   // forward and backward of the large problem, once
constexpr double kSecondsATiming = 1;  // for the timing of each direction

Case problem_of(const DemoOptions& options, std::int64_t length) {
  Case shape;
  shape.name = "demo";
  shape.dtype = options.dtype;
  shape.sizes = {.heads = 8,
                 .key_heads = 2,
                 .queries = length,
                 .keys = length,
                 .dim = 64,
                 .value_dim = 64,
                 .query_lengths = {},
                 .key_lengths = {}};
  shape.mask.right = 0;
  return shape;
}

double elapsed(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void run_both(Call& call, Runner& runner) {
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD}) {
    runner.prepare(operation, call);
    runner.run(operation, call);
  }
  runner.finish();
}

// The largest of 512, 1024, ... 16384 whose forward and backward together should take at most
// kSecondsARound; 512 if none does. A short run is scaled by the square of the length.
std::int64_t fitting_length(const DemoOptions& options, Runner& runner) {
  constexpr std::int64_t kShortest = 512, kLongest = 16384;
  // The short run's length; a GPU needs a longer one to be busy.
  const std::int64_t probed = runner.is_on_device() ? 2048 : 256;
  Workload probe(problem_of(options, probed), true, kSeed);
  const Upload there(probe.call(), runner.execution().device);
  run_both(probe.call(), runner);
  const auto start = std::chrono::steady_clock::now();
  run_both(probe.call(), runner);
  const double taken = elapsed(start);
  std::int64_t length = kShortest;
  while (length < kLongest) {
    const double times = 2 * static_cast<double>(length) / static_cast<double>(probed);
    if (taken * times * times > kSecondsARound) break;
    length *= 2;
  }
  return length;
}

DirectionReport weigh_and_time(tw_operation operation, Call& call, const Upload& there,
                               Runner& runner) {
  DirectionReport report;
  reset_peak();
  report.workspace_bytes = static_cast<double>(runner.prepare(operation, call));
  runner.run(operation, call);
  report.peak_bytes = runner.is_on_device() ? there.bytes() + report.workspace_bytes : peak_bytes();
  report.timing = measure(operation, call, runner, kSecondsATiming);
  return report;
}

void time_large(Workload& large, std::int64_t length, Runner& runner, Progress& progress,
                DemoReport& report) {
  Upload there(large.call(), runner.execution().device);
  progress.advance(1, fmt::format("forward on {} rows", length));
  report.forward = weigh_and_time(TW_FORWARD, large.call(), there, runner);
  progress.advance(2, fmt::format("backward on {} rows", length));
  report.backward = weigh_and_time(TW_BACKWARD, large.call(), there, runner);
  there.fetch();
}

// Bands at the first rows, at the last ones, and three between, most of which start within a tile.
std::vector<RowBand> sampled_bands(std::int64_t length) {
  std::vector<RowBand> bands{{0, kBandRows}};
  for (const double part : {0.19, 0.47, 0.71}) {
    bands.push_back({static_cast<std::int64_t>(part * static_cast<double>(length)), kBandRows});
  }
  bands.push_back({length - 2 * kBandRows, 2 * kBandRows});
  return bands;
}

void prove_large(Workload& large, std::int64_t length, DemoReport& report) {
  report.sampled = prove(large.call(), sampled_bands(length));
}

void prove_small(const DemoOptions& options, Runner& runner, DemoReport& report) {
  report.small = problem_of(options, kSmallLength);
  Workload small(report.small, true, kSeed + 1);
  {
    Upload there(small.call(), runner.execution().device);
    run_both(small.call(), runner);
    there.fetch();
  }
  report.whole = prove(small.call(), {{0, kSmallLength}});
}

}  // namespace

DemoReport demonstrate(const DemoOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  require_elements(dtype_from_name(options.dtype));
  const char* backend = backend_named(options.backend);
  DemoReport report;
  report.device = chosen_device({options.device, options.backend, options.threads});
  Runner runner(options.threads, backend, report.device.id);
  {
    Progress progress("demo", 10);
    progress.advance(0, "choosing a length");
    const std::int64_t length =
        options.length > 0 ? options.length : fitting_length(options, runner);
    report.large = problem_of(options, length);
    Workload large(report.large, true, kSeed);
    report.operand_bytes = large.operand_bytes();
    report.forward_plan = explain(TW_FORWARD, large.call(), runner.execution(), options.plans);
    report.backward_plan = explain(TW_BACKWARD, large.call(), runner.execution(), options.plans);
    time_large(large, length, runner, progress, report);
    progress.advance(3, "proving sampled rows");
    prove_large(large, length, report);
    progress.advance(2, "proving a smaller problem whole");
    prove_small(options, runner, report);
    progress.advance(2);
  }
  report.total_seconds = elapsed(start);
  return report;
}

}  // namespace tilewise::cli
