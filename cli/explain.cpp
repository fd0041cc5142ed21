// `tilewise explain`: which backend runs a shape and why, with which tile, work and memory.
#include <fmt/core.h>

#include <memory>

#include "cli/command.h"
#include "cli/core/call.h"
#include "cli/core/terminal.h"
#include "cli/options.h"

namespace tilewise::cli {
namespace {

struct Options {
  ShapeOptions shape;
  AttentionOptions attention;
  ExecutionOptions execution;
  bool backward = false, json = false;
};

ExitStatus run(const Options& options) {
  Case shape = options.shape.shape();
  options.attention.apply(shape);
  Call call;
  describe(shape, options.backward, call);
  const char* backend = backend_named(options.execution.backend);
  const Device device = options.execution.chosen();
  const Runner runner(options.execution.threads(), backend, device.id);
  std::string text = explain(options.backward ? TW_BACKWARD : TW_FORWARD, call, runner.execution(),
                             options.json ? TW_JSON : TW_TEXT);
  if (!text.ends_with('\n')) text += '\n';
  if (!options.json) text = fmt::format("device     {}\n", device.text()) + text;
  print(text);
  return kOk;
}

}  // namespace

Command explain_command() {
  const auto options = std::make_shared<Options>();
  std::vector<Option> table;
  options->shape.add_to(table);
  options->attention.add_to(table);
  options->execution.add_to(table);
  table.insert(table.end(),
               {{"--backward", "The gradients instead of the attention", &options->backward, ""},
                {"--json", "As JSON", &options->json, ""}});
  return {"explain", "Say which backend runs a shape and why, with which tile, work and memory",
          "Example: tilewise explain --heads 32 --key-heads 8 --length 4096 --dim 128 --causal",
          table, [options] { return run(*options); }};
}

}  // namespace tilewise::cli
