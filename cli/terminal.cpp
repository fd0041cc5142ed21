#include "cli/terminal.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "cli/failure.h"

namespace tilewise::cli {
namespace {

void check_output(bool ok) {
  if (ok) return;
  if (errno == EPIPE) throw ReaderGone();
  throw Failure(kFailed, fmt::format("cannot write to standard output: {}", std::strerror(errno)));
}

// Code points, which is what a cell takes on the terminal for the text written here.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

void print(std::string_view text) {
  check_output(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void flush() {
  check_output(std::fflush(stdout) == 0);
}

bool is_terminal(std::FILE* stream) {
  return isatty(fileno(stream)) != 0;
}

bool has_colour(std::FILE* stream) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return is_terminal(stream) && (no_colour == nullptr || *no_colour == '\0') &&
         terminal != nullptr && std::string_view(terminal) != "dumb";
}

std::string styled(Style style, std::string_view text) {
  static const bool colour = has_colour(stdout);
  if (!colour) return std::string(text);
  constexpr std::array kCodes{1, 2, 32, 31};
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes.at(static_cast<std::size_t>(style)), text);
}

std::string number(double value) {
  const double size = std::abs(value);
  return fmt::format("{:.{}f}", value, size < 10 ? 2 : size < 100 ? 1 : 0);
}

std::string bytes(double count) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  while (count >= 1024 && unit + 1 < kUnits.size()) {
    count /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", count)
                   : fmt::format("{} {}", number(count), kUnits.at(unit));
}

std::string seconds(double count) {
  if (count >= 1) return number(count) + " s";
  if (count >= 1e-3) return number(count * 1e3) + " ms";
  return number(count * 1e6) + " us";
}

void Table::add(std::vector<std::string> row) {
  row.resize(alignment_.size());
  rows_.push_back(std::move(row));
}

std::string Table::text(int indent) const {
  std::vector<std::size_t> widths(alignment_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string result;
  for (const auto& row : rows_) {
    std::string line(static_cast<std::size_t>(indent), ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (alignment_[i] == 'r' ? gap + row[i] : row[i] + gap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += (&row == rows_.data() ? styled(Style::kBold, line) : line) + "\n";
  }
  return result;
}

}  // namespace tilewise::cli
