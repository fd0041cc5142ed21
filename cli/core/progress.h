// Shows on standard error how far long work has come: a bar on a terminal, elsewhere one line at
// the start and one at the end.
#pragma once

#include <chrono>
#include <string>

namespace tilewise::cli {

class Progress {
 public:
  // `total` is in any unit; where steps differ in cost, count their work rather than their number.
  Progress(std::string label, double total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  void advance(double amount, const std::string& what = "");

 private:
  void draw(const std::string& what) const;
  [[nodiscard]] double elapsed() const;

  std::string label_;
  double total_, done_ = 0;
  bool has_bar_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace tilewise::cli
