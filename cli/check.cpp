// `tilewise check`: compares the library on this machine with the oracle, over the families, shapes
// and types of the project's own tests.
#include <dlfcn.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "cli/check_report.h"
#include "cli/command.h"
#include "cli/core/call.h"
#include "cli/core/device.h"
#include "cli/core/element.h"
#include "cli/core/machine.h"
#include "cli/core/nearest.h"
#include "cli/core/progress.h"
#include "cli/core/terminal.h"
#include "cli/options.h"
#include "conformance/call.h"
#include "conformance/device.h"
#include "conformance/sweep.h"

namespace tilewise::cli {
namespace {

using conformance::Pick;
using conformance::Series;

struct Options {
  std::string tier = "quick", name, dtype, device, backend, journal;
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> jobs;
  bool list = false, json = false;
};

std::vector<const Series*> chosen_series(const Options& options) {
  std::vector<const Series*> list = conformance::series_named(options.name);
  if (list.empty()) throw Failure(kUsage, no_such("case", options.name, series_names()));
  const std::int32_t dtype = options.dtype.empty() ? 0 : dtype_from_name(options.dtype);
  std::erase_if(list, [&](const Series* each) { return dtype != 0 && each->dtype != dtype; });
  if (list.empty()) {
    throw Failure(kUsage,
                  "no series is all that --case and --dtype ask for together "
                  "(see tilewise check --list)");
  }
  return list;
}

const conformance::Tier& chosen_tier(const Options& options) {
  const conformance::Tier* tier = conformance::tier_named(options.tier);
  if (tier != nullptr) return *tier;
  std::vector<std::string> names;
  for (const conformance::Tier& each : conformance::all_tiers()) names.emplace_back(each.name);
  throw Failure(kUsage, no_such("tier", options.tier, names));
}

int chosen_jobs(const Options& options) {
  const auto asked = static_cast<int>(options.jobs.value_or(0));
  return asked > 0 ? asked : static_cast<int>(std::thread::hardware_concurrency());
}

// Runs a single case and prints all about it.
ExitStatus replay(const Options& options, const Device& device) {
  const std::vector<const Series*> list = chosen_series(options);
  if (list.size() != 1) {
    throw Failure(kUsage,
                  fmt::format("--seed needs the whole name of a case, such as {}; '{}' names {}",
                              list.front()->name(), options.name, list.size()));
  }
  if (!options.journal.empty()) {
    throw Failure(kUsage,
                  "--seed runs one case, which --resume has nothing to add to; leave one out");
  }
  const Pick pick{list.front(), *options.seed, 0};
  CheckResult result;
  result.tier = "replay";
  result.device = device.text();
  result.series.emplace_back().name = pick.series->name();
  conformance::sweep({pick}, 1, [&](const Pick&, const conformance::Report& report) {
    result.series.front().add(pick, report);
  });
  const SeriesResult& series = result.series.front();
  if (options.json) {
    show(result, true);
  } else {
    print(fmt::format("on {}\n", result.device));
    print(pick.series->draw(pick.seed).describe() + "\n");
    for (const Finding& each : series.findings) print(each.sentences.substr(1) + "\n");
    if (!series.refusal.empty()) print("declined: " + series.refusal + "\n");
    print(fmt::format("{}: {} numbers compared, the worst at {:.2f} of its bound{}\n",
                      series.failed == 0 ? "exact" : "WRONG", series.numbers, series.worst,
                      series.worst_where.empty() ? "" : ", " + series.worst_where));
  }
  if (series.declined > 0) return kUnsupported;
  return series.failed == 0 ? kOk : kFailed;
}

SeriesResult check_series(const Series& series, const std::vector<Pick>& picks, int jobs,
                          Progress& progress) {
  const auto start = std::chrono::steady_clock::now();
  SeriesResult result;
  result.name = series.name();
  conformance::sweep(picks, jobs, [&](const Pick& pick, const conformance::Report& report) {
    result.add(pick, report);
    progress.advance(pick.cost, result.name);
  });
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

// The environment's settings that decide which kernels run.
std::string kernels_of_environment() {
  std::string words;
  for (const char* name : {"TILEWISE_BACKEND", "TILEWISE_CPU_ISA", "TILEWISE_CUDA_KERNELS"}) {
    const char* value = std::getenv(name);
    words += fmt::format(", {}={}", name, value != nullptr ? value : "");
  }
  return words;
}

// Names the build of the library, the machine, the tier and the kernels that results belong to. A
// check resumes only from results of the same identity.
std::string identity_of(const Options& options, const Device& device) {
  Dl_info library = {};
  struct stat file = {};
  const bool is_known = dladdr(reinterpret_cast<const void*>(&tw_version), &library) != 0 &&
                        stat(library.dli_fname, &file) == 0;
  return fmt::format(
      "{} of {} bytes made at {}, {}, {}, tier {}, {}{}", tw_version(), is_known ? file.st_size : 0,
      is_known ? file.st_mtime : 0, this_machine().processor, device.text(), options.tier,
      options.backend.empty() ? "any backend" : options.backend, kernels_of_environment());
}

CheckResult check_all(const Options& options, const Device& device) {
  const std::vector<const Series*> list = chosen_series(options);
  const std::vector<Pick> picks = conformance::pick(list, chosen_tier(options));
  double total = 0;
  for (const Pick& each : picks) total += each.cost;
  Journal journal(options.journal, identity_of(options, device));
  CheckResult result;
  result.tier = options.tier;
  result.device = device.text();
  if (!options.device.empty()) result.replay_words = " --device " + options.device;
  Progress progress("check", total);
  for (const Series* series : list) {
    std::vector<Pick> own;
    double cost = 0;
    for (const Pick& each : picks) {
      if (each.series != series) continue;
      own.push_back(each);
      cost += each.cost;
    }
    const auto done = journal.find(series->name(), static_cast<std::int64_t>(own.size()));
    if (done) {
      progress.advance(cost, series->name());
      result.series.push_back(*done);
      continue;
    }
    result.series.push_back(check_series(*series, own, chosen_jobs(options), progress));
    journal.append(result.series.back());
  }
  for (const SeriesResult& each : result.series) result.seconds += each.seconds;
  return result;
}

// Throws Failure if the GPU cannot prepare a small call, for instance because it has no kernels.
// Without this test the check would try every case there and count each as declined.
void require_kernels(const Options& options, const Device& device) {
  if (!device.is_gpu()) return;
  Call call;
  const std::array<std::int64_t, 4> shape{1, 8, 2, 16};
  for (tw_tensor* tensor :
       {&call.request.query, &call.request.key, &call.request.value, &call.request.output}) {
    *tensor = dense_tensor(TW_FLOAT32, shape);
  }
  call.link(false);
  try {
    Runner(0, backend_named(options.backend), device.id).prepare(TW_FORWARD, call);
  } catch (const Failure& failure) {
    throw Failure(kUnsupported,
                  fmt::format("nothing can be checked on {}: {}", device.name(), failure.what()));
  }
}

ExitStatus run(const Options& options) {
  if (options.list) {
    show_series(options.json);
    return kOk;
  }
  conformance::use_backend(backend_named(options.backend));
  check_environment();
  const Device device = chosen_device({options.device, options.backend, 0});
  require_kernels(options, device);
  conformance::use_device(device.id);
  if (options.seed) return replay(options, device);
  const CheckResult result = check_all(options, device);
  if (result.is_declined()) throw Failure(kUnsupported, result.series.front().refusal);
  show(result, options.json);
  return result.is_exact() ? kOk : kFailed;
}

}  // namespace

Command check_command() {
  const auto options = std::make_shared<Options>();
  return {
      "check",
      "Is this library exact on this machine? Every family and type, against the oracle",
      "Exit status 0 says that everything was exact, 1 that something was wrong, 3 that the\n"
      "device or the backend runs none of it. The oracle computes on the processor.\n"
      "Example: tilewise check --case museum/gauss/float32 --seed 17",
      {{"--tier", "How far to go; quick when not given", &options->tier, "{smoke,quick,gpu,full}"},
       {"--case", "Only this series, or those that begin so", &options->name, "SERIES"},
       {"--seed", "Of that series, this case alone", Natural{&options->seed}, "NUMBER"},
       {"--dtype", "Only this type", &options->dtype, "DTYPE"},
       device_option(&options->device),
       {"--backend", "Only this backend", &options->backend, "BACKEND"},
       {"--jobs", "Cases at a time; as many as processors when 0", Integer{&options->jobs, 0, 256},
        "NUMBER"},
       {"--resume", "Write what is done into this file, and go on from there another time",
        &options->journal, "FILE"},
       {"--list", "Show the series and their cases in each tier instead", &options->list, ""},
       {"--json", "As JSON", &options->json, ""}},
      [options] { return run(*options); }};
}

}  // namespace tilewise::cli
