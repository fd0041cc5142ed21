#include "cli/program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/call.h"
#include "cli/command.h"
#include "cli/nearest.h"
#include "cli/terminal.h"

namespace tilewise::cli {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  tilewise demo\n"
    "  tilewise explain --heads 32 --kv-heads 8 --length 4096 --dim 128 --causal\n"
    "  tilewise run --query q.npy --key k.npy --value v.npy --causal --output o.npy\n"
    "  tilewise bench --case causal-1024 --direction forward\n"
    "  tilewise completion bash\n"
    "\n"
    "Exit status:\n"
    "  0  done\n"
    "  1  a check failed, or the machine did\n"
    "  2  wrong usage or bad input\n"
    "  3  nothing in this library or machine can run the request\n"
    "Errors are one sentence on standard error that begins with 'tilewise: '. With --json, "
    "standard\n"
    "output also has {\"error\": {\"status\": N, \"message\": \"...\"}}.\n"
    "\n"
    "TILEWISE_NUM_THREADS limits the threads, TILEWISE_BACKEND forces a backend, TILEWISE_CPU_ISA\n"
    "the instruction set of backend cpu, NO_COLOR forbids colour.\n";

std::string version_text() {
  return fmt::format("tilewise {}\nlibrary {}, C interface {}.{}.{}\nbackends: {}", tw_version(),
                     tw_version(), TW_VERSION_MAJOR, TW_VERSION_MINOR, TW_VERSION_PATCH,
                     fmt::join(backend_names(), ", "));
}

bool wants_json(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    if (std::string_view(words[i]) == "--json") return true;
  }
  return false;
}

// A sentence may quote a file or an argument, which must not move the terminal's cursor.
std::string printable(std::string text) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7F; };
  std::replace_if(text.begin(), text.end(), is_control, '?');
  return text;
}

// "Could not convert: --length = x", in our words.
std::string conversion_sentence(const std::string& text) {
  const std::size_t name = text.find("--"), equals = text.find(" = ");
  if (name == std::string::npos || equals == std::string::npos || equals < name) return text;
  return fmt::format("{} cannot be '{}'", text.substr(name, equals - name),
                     text.substr(equals + 3));
}

// CLI11 names what is wrong; a command or option that does not exist gets its nearest names.
Failure usage_failure(const CLI::App& app, const CLI::ParseError& error,
                      const std::vector<std::string>& words) {
  std::string sentence = error.what();
  if (error.get_name() == "ConversionError") sentence = conversion_sentence(sentence);
  const CLI::App* command = &app;
  for (const CLI::App* chosen : app.get_subcommands()) command = chosen;
  const std::vector<std::string> extras = command->remaining();
  if (!extras.empty()) {
    const bool is_option = extras.front().starts_with("-");
    std::vector<std::string> names;
    if (is_option) {
      for (const CLI::Option* option : command->get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      }
    } else {
      for (const CLI::App* known : app.get_subcommands([](const CLI::App*) { return true; })) {
        names.push_back(known->get_name());
      }
    }
    sentence = no_such(is_option ? "option" : "command", extras.front(), names);
  } else if (words.empty()) {
    sentence = "no command was given";
  }
  const std::string asked = command == &app ? "" : command->get_name() + " ";
  return {kUsage, fmt::format("{} (see tilewise {}--help)", sentence, asked)};
}

}  // namespace

ExitStatus parse_and_run(int count, char** words, MayRun may_run) {
  CLI::App app("Exact attention, tile by tile: forward, backward, on the machine at hand",
               "tilewise");
  Chosen chosen;
  app.set_version_flag("--version", version_text(), "Print the versions and backends");
  app.set_help_flag("-h,--help", "Print this help");
  app.require_subcommand(0, 1);
  app.footer(kFooter);
  add_demo(app, chosen);
  add_check(app, chosen);
  add_explain(app, chosen);
  add_run(app, chosen);
  add_bench(app, chosen);
  add_completion(app, chosen);
  try {
    app.parse(count, words);
  } catch (const CLI::Success& wanted) {
    // Help and version are asked for by exceptions, too.
    app.exit(wanted, std::cout, std::cerr);
    return kOk;
  } catch (const CLI::ParseError& error) {
    throw usage_failure(app, error, {words + 1, words + count});
  }
  if (!chosen) throw Failure(kUsage, "no command was given (see tilewise --help)");
  return may_run(app.get_subcommands().front()->get_name()) ? chosen() : kOk;
}

ExitStatus report(const Failure& failure, int count, char** words) {
  if (wants_json(count, words)) {
    const nlohmann::ordered_json error{
        {"error", {{"status", int{failure.status()}}, {"message", failure.what()}}}};
    print(error.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    flush();
  }
  fmt::print(stderr, "tilewise: {}\n", printable(failure.what()));
  return failure.status();
}

ExitStatus run_program(int count, char** words) {
  const auto told = [&](const Failure& failure) { return report(failure, count, words); };
  try {
    const ExitStatus status = parse_and_run(count, words, [](std::string_view) { return true; });
    flush();
    return status;
  } catch (const Failure& failure) {
    return told(failure);
  } catch (const std::bad_alloc&) {
    return told({kFailed, "there is not enough memory for this; try smaller tensors"});
  } catch (const ReaderGone&) {
    throw;
  } catch (const std::exception& error) {
    return told({kFailed, fmt::format("something unforeseen failed: {}", error.what())});
  }
}

}  // namespace tilewise::cli
