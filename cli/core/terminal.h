// What a person sees: text on standard output, restrained colour, aligned tables, readable units.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace tilewise::cli {

// Writes to standard output; throws ReaderGone when its reader has left, Failure when it is full.
void print(std::string_view text);
void flush();

// A terminal that wants colour: NO_COLOR and TERM=dumb say no.
[[nodiscard]] bool is_terminal(std::FILE* stream);
[[nodiscard]] bool has_colour(std::FILE* stream);

// How many columns it has; 80 for what is no terminal.
[[nodiscard]] std::size_t columns_of(std::FILE* stream);

// A paragraph in lines that end before `columns`, broken between words, the first begun `first`
// columns from the left and the others `others`.
struct Indent {
  std::size_t first = 0, others = 0;
};
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t columns, const Indent& indent);

enum class Style { kBold, kDim, kGreen, kRed };
[[nodiscard]] std::string styled(Style style, std::string_view text);

// "1.5 MiB", "12.3 ms", "417".
[[nodiscard]] std::string bytes(double count);
[[nodiscard]] std::string seconds(double count);
[[nodiscard]] std::string number(double value);

// Columns as wide as their widest cell; 'l' and 'r' say where each column's text stands.
class Table {
 public:
  explicit Table(std::string alignment) : alignment_(std::move(alignment)) {}
  void add(std::vector<std::string> row);
  // The first row set in bold on a terminal that wants colour, every line indented.
  [[nodiscard]] std::string text(std::size_t indent = 0) const;
  // The same where it fits, else a paragraph a row.
  [[nodiscard]] std::string text_within(std::size_t columns, std::size_t indent) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths() const;

  std::string alignment_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tilewise::cli
