// `tilewise run`: attention and its gradients from .npy files into .npy files.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "cli/command.h"
#include "cli/core/element.h"
#include "cli/core/joined.h"
#include "cli/core/json.h"
#include "cli/core/number.h"
#include "cli/core/terminal.h"
#include "cli/core/upload.h"
#include "cli/options.h"
#include "cli/run_files.h"

namespace tilewise::cli {
namespace {

struct Options {
  Paths paths;
  std::string block_size;
  FileTypes types;
  AttentionOptions attention;
  ExecutionOptions execution;
  bool deterministic = false, json = false;
};

bool wants_gradients(const Options& options) {
  return std::any_of(output_files().begin(), output_files().end(), [&](const OutputFile& file) {
    return file.like != nullptr && !options.paths.at(file.flag).empty();
  });
}

void check_usage(const Options& options) {
  const auto is_asked = [&](const OutputFile& file) {
    return !options.paths.at(file.flag).empty();
  };
  if (std::none_of(output_files().begin(), output_files().end(), is_asked)) {
    throw Failure(kUsage,
                  "nothing would be written; name a file with --output, --lse or one of "
                  "the gradient options");
  }
  const bool has_arriving = !options.paths.at("--output-gradient").empty();
  if (wants_gradients(options) && !has_arriving) {
    throw Failure(kUsage,
                  "gradients need the one that arrives at the output: give it with "
                  "--output-gradient");
  }
  if (has_arriving && !wants_gradients(options)) {
    throw Failure(kUsage,
                  "--output-gradient is given, but no gradient would be written; name a "
                  "file with --query-gradient or one of the others");
  }
  if (!options.paths.at("--lse-gradient").empty() && !has_arriving) {
    throw Failure(kUsage, "--lse-gradient needs --output-gradient beside it");
  }
  if (!options.paths.at("--blocks").empty() && options.block_size.empty()) {
    throw Failure(kUsage, "--blocks needs --block-size QUERIES,KEYS, as in 64,64");
  }
  if (options.paths.at("--blocks").empty() && !options.block_size.empty()) {
    throw Failure(kUsage, "--block-size is given, but no --blocks to have that size");
  }
}

void set_block_size(const std::string& text, tw_mask& mask) {
  const std::size_t comma = std::min(text.find(','), text.size());
  const auto query = parse_integer(text.substr(0, comma));
  const auto key = parse_integer(text.substr(std::min(comma + 1, text.size())));
  const auto is_size = [](const auto& size) { return size && *size > 0 && *size <= (1 << 30); };
  if (!is_size(query) || !is_size(key)) {
    throw Failure(kUsage, fmt::format("--block-size takes QUERIES,KEYS, as in 64,64; '{}' is not "
                                      "that",
                                      text));
  }
  mask.block_query = static_cast<std::int32_t>(*query);
  mask.block_key = static_cast<std::int32_t>(*key);
}

void report(const Options& options, const Device& device, Call& call, double taken) {
  Json json{{"version", tw_version()}, {"device", device.name()}, {"seconds", taken}};
  if (!options.json) print(fmt::format("on {}\n", device.text()));
  for (const OutputFile& file : output_files()) {
    const std::string& path = options.paths.at(file.flag);
    if (path.empty()) continue;
    const tw_tensor& tensor = *file.place(call);
    const std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.rank);
    if (options.json) {
      json["outputs"].push_back({{"name", file.flag + 2},
                                 {"path", path},
                                 {"shape", shape},
                                 {"dtype", tw_dtype_name(tensor.dtype)}});
    } else {
      print(fmt::format("wrote {}: {} ({}) {}\n", path, file.flag + 2, joined(shape, ", "),
                        tw_dtype_name(tensor.dtype)));
    }
  }
  if (options.json) {
    print(indented_json(json) + "\n");
  } else {
    print(fmt::format("computed in {}\n", seconds(taken)));
  }
}

// Runs the call and returns the seconds, without the copies to and from a device.
double compute(bool has_gradients, Call& call, Runner& runner) {
  Upload there(call, runner.execution().device);
  const auto start = std::chrono::steady_clock::now();
  runner.run(TW_FORWARD, call);
  if (has_gradients) runner.run(TW_BACKWARD, call);
  runner.finish();
  const auto end = std::chrono::steady_clock::now();
  there.fetch();
  return std::chrono::duration<double>(end - start).count();
}

ExitStatus run(const Options& options) {
  check_usage(options);
  const Paths& paths = options.paths;
  const bool has_gradients = wants_gradients(options);
  const char* backend = backend_named(options.execution.backend);
  const Device device = options.execution.chosen();

  Call call;
  Case asked;
  options.attention.apply(asked);
  set_options(asked, call);
  if (!options.block_size.empty()) set_block_size(options.block_size, call.mask);
  call.options.deterministic = options.deterministic ? 1 : 0;
  const std::vector<NpyArray> inputs = read_inputs(paths, options.types, call);
  shape_outputs(paths, options.types, call);
  call.link(has_gradients);

  OutputFiles files;
  remove_unfinished_on_interrupt();
  for (const InputFile& file : input_files()) {
    if (!paths.at(file.flag).empty()) files.keep(paths.at(file.flag));
  }
  for (const OutputFile& file : output_files()) {
    if (!paths.at(file.flag).empty()) files.reserve(paths.at(file.flag));
  }
  // On a GPU the request is checked here, before memory is taken for its results.
  if (device.is_gpu()) {
    check_here(has_gradients ? TW_BACKWARD : TW_FORWARD, call);
    bound_lengths(call);
  }
  Runner runner(options.execution.threads(), backend, device.id);
  runner.prepare(TW_FORWARD, call);
  if (has_gradients) runner.prepare(TW_BACKWARD, call);
  Results results;
  results.allocate(call);
  const double taken = compute(has_gradients, call, runner);
  const std::string query_type = inputs.front().header.type();
  results.write(paths, query_type == "<u2" ? "<u2" : "<V2", call, files);
  files.commit();
  report(options, device, call, taken);
  return kOk;
}

}  // namespace

Command run_command() {
  const auto options = std::make_shared<Options>();
  std::vector<Option> table;
  for (const InputFile& file : input_files()) {
    table.push_back({file.flag, file.about, &options->paths[file.flag], "FILE", "Input"});
    const std::string flag = file.flag;
    table.back().is_required = flag == "--query" || flag == "--key" || flag == "--value";
  }
  table.insert(table.end(), {{"--block-size", "How many queries and keys a block has",
                              &options->block_size, "QUERIES,KEYS", "Input"},
                             {"--bfloat16", "Files of uint16 hold the bits of bfloat16 numbers",
                              &options->types.is_uint16_bfloat16, "", "Input"}});
  for (const OutputFile& file : output_files()) {
    table.push_back({file.flag, file.about, &options->paths[file.flag], "FILE", "Output"});
  }
  table.push_back({"--output-dtype", "The output's type; the query's", &options->types.output,
                   "DTYPE", "Output"});
  options->attention.add_to(table);
  options->execution.add_to(table);
  table.insert(table.end(), {{"--deterministic", "Gradients: the same bits every time",
                              &options->deterministic, "", "Execution"},
                             {"--json", "Say what was written as JSON", &options->json, ""}});
  return {"run", "Attention and its gradients on .npy files",
          "Files are written all together after everything has succeeded, or not at all.\n"
          "Numbers may be float16, float32, float64 or bfloat16 (uint16 with --bfloat16, or V2).\n"
          "Example: tilewise run --query q.npy --key k.npy --value v.npy --causal --output o.npy",
          table, [options] { return run(*options); }};
}

}  // namespace tilewise::cli
