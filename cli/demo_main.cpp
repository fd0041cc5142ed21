// The demo as a program of its own, so that only what it shows is compiled.
#include <fmt/core.h>

#include <csignal>
#include <exception>

#include "cli/core/failure.h"
#include "cli/core/terminal.h"
#include "cli/demo.h"

namespace {

using namespace tilewise::cli;

ExitStatus run(int count) {
  if (count > 1) {
    throw Failure(kUsage, "this program takes no words; `tilewise demo` has options");
  }
  const DemoReport report = demonstrate({});
  show(report);
  flush();
  return is_proved(report) ? kOk : kFailed;
}

}  // namespace

int main(int count, char**) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(count);
  } catch (const Failure& failure) {
    fmt::print(stderr, "tilewise: {}\n", failure.what());
    return failure.status();
  } catch (const ReaderGone&) {
    return kFailed;
  } catch (const std::exception& error) {
    fmt::print(stderr, "tilewise: {}\n", error.what());
    return kFailed;
  }
}
