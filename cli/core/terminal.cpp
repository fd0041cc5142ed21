#include "cli/core/terminal.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

void check_output(bool ok) {
  if (ok) return;
  if (errno == EPIPE) throw ReaderGone();
  throw Failure(kFailed, fmt::format("cannot write to standard output: {}", std::strerror(errno)));
}

// Columns that the text takes: its code points, without the codes that set a style.
std::size_t width(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b')
      i = std::min(text.find('m', i), text.size() - 1);
    else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80)
      ++columns;
  }
  return columns;
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

std::size_t columns_of(std::FILE* stream) {
  winsize size = {};
  const bool is_known = ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : 80;
}

std::string wrapped(std::string_view text, std::size_t columns, const Indent& indent) {
  std::string result, line(indent.first, ' ');
  bool is_empty = true;
  for (std::size_t begin = 0; begin < text.size();) {
    // A word with the spaces before it, which stay if the word is not first on its line.
    const std::size_t word = std::min(text.find_first_not_of(' ', begin), text.size());
    const std::size_t end = std::min(text.find(' ', word), text.size());
    if (!is_empty && width(line) + width(text.substr(begin, end - begin)) > columns) {
      result += line + "\n";
      line.assign(indent.others, ' ');
      is_empty = true;
    }
    line += text.substr(is_empty ? word : begin, end - (is_empty ? word : begin));
    is_empty = false;
    begin = end;
  }
  return result + line + "\n";
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

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> widths(alignment_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  return widths;
}

std::string Table::text(std::size_t indent) const {
  const std::vector<std::size_t> widths = this->widths();
  std::string result;
  for (const auto& row : rows_) {
    std::string line(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (alignment_[i] == 'r' ? gap + row[i] : row[i] + gap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += (&row == rows_.data() ? styled(Style::kBold, line) : line) + "\n";
  }
  return result;
}

std::string Table::text_within(std::size_t columns, std::size_t indent) const {
  const std::vector<std::size_t> widths = this->widths();
  const std::size_t gaps = 2 * (widths.size() - 1);
  if (std::accumulate(widths.begin(), widths.end(), indent + gaps) <= columns) return text(indent);
  std::string result;
  for (std::size_t row = 1; row < rows_.size(); ++row) {
    std::string line = rows_[row][0];
    for (std::size_t i = 1; i < widths.size(); ++i) {
      line += (i == 1 ? ": " : ", ") + rows_[0][i] + " " + rows_[row][i];
    }
    result += wrapped(line, columns, {indent, indent + 2});
  }
  return result;
}

}  // namespace tilewise::cli
