// `tilewise kernels`: lists the GPU's kernels, compiles ahead of the first call those of which the
// library carries no compiled copy, and empties the cache that keeps them.
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/core/call.h"
#include "cli/core/joined.h"
#include "cli/core/json.h"
#include "cli/core/nearest.h"
#include "cli/core/progress.h"
#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

struct Options {
  std::string action;
  std::vector<std::string> names, architectures;
  std::optional<double> driver;
  bool json = false;
};

// The C interface's choice of kernels, with the texts that it points at.
struct Choice {
  explicit Choice(const Options& options)
      : names(joined(options.names, ",")), architectures(joined(options.architectures, ",")) {
    form.size = sizeof form;
    if (!names.empty()) form.names = names.c_str();
    if (!architectures.empty()) form.architectures = architectures.c_str();
    // 12.4 is 12040; a minor has one digit.
    const double exact = options.driver.value_or(0) * 10;
    const auto tenths = static_cast<std::int32_t>(std::lround(exact));
    if (std::abs(exact - tenths) > 1e-6) {
      throw Failure(kUsage, fmt::format("--driver takes a version as 12.4; {} is none",
                                        options.driver.value_or(0)));
    }
    form.driver_version = tenths / 10 * 1000 + tenths % 10 * 10;
  }
  Choice(const Choice&) = delete;
  Choice& operator=(const Choice&) = delete;

  std::string names, architectures;
  tw_kernel_choice form = {};
};

std::string listed(const Choice& choice, tw_format format) {
  std::string text;
  std::size_t needed = 16384;
  // Asked again while the text grows: another process may compile a kernel meanwhile.
  while (needed > text.size()) {
    text.resize(needed);
    Message message{};
    check(tw_kernels(&choice.form, format, text.data(), text.size(), &needed, message.data(),
                     message.size()),
          message);
  }
  text.resize(needed - 1);
  return text;
}

ExitStatus list(const Options& options) {
  print(listed(Choice(options), options.json ? TW_JSON : TW_TEXT));
  return kOk;
}

// The state of the progress bar between the library's callbacks.
struct Told {
  std::optional<Progress> progress;
  std::int64_t done = 0, total = 0;
  std::exception_ptr failure;
};

// The library's callback. An exception must not pass through the library, so it is stored in the
// Told that `host` points at, and 0 tells the library to stop.
std::int32_t tell(void* host, std::int64_t done, std::int64_t total, const char* what) {
  Told& told = *static_cast<Told*>(host);
  try {
    if (!told.progress) told.progress.emplace("kernels", static_cast<double>(total));
    told.progress->advance(static_cast<double>(done - told.done), what);
  } catch (...) {
    told.failure = std::current_exception();
  }
  told.done = done;
  told.total = total;
  return told.failure ? 0 : 1;
}

ExitStatus build(const Options& options) {
  const Choice choice(options);
  Told told;
  Message message{};
  const tw_status status =
      tw_build_kernels(&choice.form, tell, &told, message.data(), message.size());
  told.progress.reset();
  if (told.failure) std::rethrow_exception(told.failure);
  check(status, message);
  const std::string what =
      told.total == 1 ? "1 kernel is" : fmt::format("{} kernels are", told.total);
  const char* dump = std::getenv("TILEWISE_DUMP");
  if (dump != nullptr && *dump != 0) {
    print(
        fmt::format("{} compiled, and left in {}. None is kept: while TILEWISE_DUMP is set, each "
                    "process compiles its own.\n",
                    what, dump));
  } else {
    print(what + " ready: the first call that takes one does not compile it.\n");
  }
  return kOk;
}

ExitStatus clear() {
  std::int64_t removed = 0;
  Message message{};
  check(tw_clear_kernels(&removed, message.data(), message.size()), message);
  const auto about = parse_json(listed(Choice({}), TW_JSON));
  print(fmt::format("{} removed from {}.\n",
                    removed == 1 ? "1 file" : fmt::format("{} files", removed),
                    about ? about->at("cache").get<std::string>() : "the cache"));
  return kOk;
}

void refuse(bool given, const Options& options, const char* what, const char* where) {
  if (given) {
    throw Failure(kUsage,
                  fmt::format("kernels {} takes no {}; {} does", options.action, what, where));
  }
}

ExitStatus run(const Options& options) {
  if (options.action == "list") {
    return list(options);
  }
  refuse(options.json, options, "--json", "kernels list");
  if (options.action == "build") {
    return build(options);
  }
  if (options.action != "clear") {
    throw Failure(kUsage, no_such("action", options.action, {"list", "build", "clear"}));
  }
  const char* where = "kernels build";
  refuse(!options.names.empty(), options, "names", where);
  refuse(!options.architectures.empty(), options, "--arch", where);
  refuse(options.driver.has_value(), options, "--driver", where);
  return clear();
}

}  // namespace

Command kernels_command() {
  const auto options = std::make_shared<Options>();
  Option action{"action", "What to do", &options->action, "{list,build,clear}"};
  action.is_required = true;
  return {
      "kernels",
      "The GPU's kernels: list them, compile them ahead of time, empty their cache",
      "list says of each where a call would find it: in the pack that the library carries, in "
      "the\n"
      "cache of this user, or not yet. build compiles into the cache what is in neither; it "
      "needs\n"
      "NVRTC (pip install nvidia-cuda-nvrtc-cu12) and no GPU. clear empties the cache.\n"
      "\n"
      "Example: tilewise kernels build --arch sm_90 '*forward*'",
      {action,
       {"names", "Kernels, or patterns as '*forward*'; all when not given", &options->names,
        "KERNEL"},
       {"--arch", "For this architecture; this machine's GPUs when not given, or without one all",
        &options->architectures, "{sm_80,sm_90,sm_100,sm_120,SM}"},
       {"--driver",
        "CUDA version of the driver that will load them, as 12.4; this machine's when not given",
        Real{&options->driver, 12.0, 99.0}, "VERSION"},
       {"--json", "With list: as JSON", &options->json, ""}},
      [options] { return run(*options); }};
}

}  // namespace tilewise::cli
