// `tilewise explain`: which backend runs a shape and why, with which tile, work and memory.
#include <fmt/core.h>

#include <memory>

#include "cli/call.h"
#include "cli/command.h"
#include "cli/number.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace tilewise::cli {
namespace {

struct Options {
  ShapeOptions shape;
  AttentionOptions attention;
  ExecutionOptions execution;
  std::string device = "cpu";
  bool backward = false, json = false;
};

tw_device parse_device(const std::string& text) {
  if (text == "cpu") return {TW_CPU, 0};
  if (text == "cuda") return {TW_CUDA, 0};
  const auto index = text.starts_with("cuda:") ? parse_integer(text.substr(5)) : std::nullopt;
  if (!index || *index < 0 || *index > 1023) {
    throw Failure(kUsage,
                  fmt::format("--device takes cpu, cuda or cuda:N; '{}' is none of these", text));
  }
  return {TW_CUDA, static_cast<std::int32_t>(*index)};
}

ExitStatus run(const Options& options) {
  Case shape = options.shape.shape();
  options.attention.apply(shape.mask, shape.scores);
  Call call;
  describe(shape, options.backward, call);
  Runner runner(options.execution.threads(), backend_named(options.execution.backend));
  runner.execution().device = parse_device(options.device);
  std::string text = explain(options.backward ? TW_BACKWARD : TW_FORWARD, call, runner.execution(),
                             options.json ? TW_JSON : TW_TEXT);
  if (!text.ends_with('\n')) text += '\n';
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
               {{"--device", "Where it would run; cpu when not given", &options->device,
                 "{cpu,cuda,cuda:N}", "Execution"},
                {"--backward", "The gradients instead of the attention", &options->backward, ""},
                {"--json", "As JSON", &options->json, ""}});
  return {"explain", "Say which backend runs a shape and why, with which tile, work and memory",
          "Example: tilewise explain --heads 32 --kv-heads 8 --length 4096 --dim 128 --causal",
          table, [options] { return run(*options); }};
}

}  // namespace tilewise::cli
