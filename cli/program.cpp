#include "cli/program.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <string_view>

#include "cli/command.h"
#include "cli/core/call.h"
#include "cli/core/joined.h"
#include "cli/core/json.h"
#include "cli/core/terminal.h"
#include "cli/parser.h"

namespace tilewise::cli {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  tilewise demo\n"
    "  tilewise explain --heads 32 --key-heads 8 --length 4096 --dim 128 --causal\n"
    "  tilewise run --query q.npy --key k.npy --value v.npy --causal --output o.npy\n"
    "  tilewise bench --case causal-1024 --direction forward\n"
    "  tilewise kernels list\n"
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
                     joined(backend_names(), ", "));
}

bool wants_json(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    if (std::string_view(words[i]) == "--json") return true;
  }
  return false;
}

// Replaces control characters, because a sentence may quote a file or an argument that has some.
std::string printable(std::string text) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7F; };
  std::replace_if(text.begin(), text.end(), is_control, '?');
  return text;
}

}  // namespace

std::vector<Command> all_commands() {
  return {demo_command(),  check_command(),   explain_command(),   run_command(),
          bench_command(), kernels_command(), completion_command()};
}

ExitStatus parse_and_run(int count, char** words, MayRun may_run) {
  const Program program{"tilewise",
                        "Exact attention, tile by tile: forward, backward, on the machine at hand",
                        version_text(), kFooter, all_commands()};
  const Parsed parsed = parse(program, {words + 1, words + count});
  if (parsed.command == nullptr) {
    print(parsed.text);
    return kOk;
  }
  return may_run(parsed.command->name) ? parsed.command->run() : kOk;
}

ExitStatus report(const Failure& failure, int count, char** words) {
  fmt::print(stderr, "tilewise: {}\n", printable(failure.what()));
  if (!wants_json(count, words)) return failure.status();
  try {
    print(indented_json(
              {{"error", {{"status", int{failure.status()}}, {"message", failure.what()}}}}) +
          "\n");
    flush();
  } catch (const Failure&) {
    // Writing to standard output may be what failed. The failure has already been printed.
  }
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
