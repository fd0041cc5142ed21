// Output for a person: text on standard output, colour, aligned tables, readable units.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace tilewise::cli {

// Writes to standard output. Throws ReaderGone when its reader has left, Failure when it is full.
void print(std::string_view text);
void flush();

// has_colour: a terminal, NO_COLOR is unset or empty, and TERM is set and not "dumb".
[[nodiscard]] bool is_terminal(std::FILE* stream);
[[nodiscard]] bool has_colour(std::FILE* stream);

// The terminal's columns; 80 if the stream is none.
[[nodiscard]] std::size_t columns_of(std::FILE* stream);

// Wraps a paragraph between words into lines of at most `columns`; only a line of one long word may
// be longer. Indent counts the spaces in front of the first line and of the others.
struct Indent {
  std::size_t first = 0, others = 0;
};
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t columns, const Indent& indent);

enum class Style { kBold, kDim, kGreen, kRed };
[[nodiscard]] std::string styled(Style style, std::string_view text);

// These give "1.50 MiB", "12.3 ms" and "417".
[[nodiscard]] std::string bytes(double count);
[[nodiscard]] std::string seconds(double count);
[[nodiscard]] std::string number(double value);

// A table whose columns are as wide as their widest cell; 'l' and 'r' align each column.
class Table {
 public:
  explicit Table(std::string alignment) : alignment_(std::move(alignment)) {}
  void add(std::vector<std::string> row);
  // The table with every line indented; the first row is bold on a terminal that wants colour.
  [[nodiscard]] std::string text(std::size_t indent = 0) const;
  // The table where it fits, else each row as a paragraph.
  [[nodiscard]] std::string text_within(std::size_t columns, std::size_t indent) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths() const;

  std::string alignment_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tilewise::cli
