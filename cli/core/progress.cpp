#include "cli/core/progress.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

constexpr int kBarColumns = 28;

void tell(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(std::string label, double total)
    : label_(std::move(label)),
      total_(total),
      has_bar_(is_terminal(stderr)),
      start_(std::chrono::steady_clock::now()) {
  if (has_bar_) {
    draw("");
  } else {
    tell(fmt::format("{} ...\n", label_));
  }
}

Progress::~Progress() {
  // Erases the bar, or prints a last line where there is no terminal.
  tell(has_bar_ ? std::string("\r\x1b[K")
                : fmt::format("{}: {:.0f} % in {}\n", label_, 100 * std::min(1.0, done_ / total_),
                              seconds(elapsed())));
}

void Progress::advance(double amount, const std::string& what) {
  done_ += amount;
  if (has_bar_) draw(what);
}

double Progress::elapsed() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::draw(const std::string& what) const {
  const double part = total_ > 0 ? std::min(1.0, done_ / total_) : 1.0;
  const int filled = static_cast<int>(part * kBarColumns);
  std::string bar;
  for (int column = 0; column < kBarColumns; ++column) bar += column < filled ? "█" : "░";
  const std::string left =
      part > 0 && part < 1 ? fmt::format(", {} left", seconds(elapsed() * (1 - part) / part)) : "";
  const std::string after = fmt::format("{:3.0f} %{}  {}", 100 * part, left, what);
  // Text that does not fit is cut, because a line that wraps could not be erased.
  const std::size_t before = label_.size() + kBarColumns + 6;
  const std::size_t columns = columns_of(stderr);
  if (columns <= before) return;
  tell(fmt::format("\r\x1b[K  {}  {}  {}", label_, bar, after.substr(0, columns - before - 1)));
}

}  // namespace tilewise::cli
