// The result of `tilewise check`, as text and as JSON; and the file from which a long check
// resumes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "conformance/series.h"

namespace tilewise::cli {

// A case that failed.
struct Finding {
  std::string replay;     // the command that runs it again
  std::string sentences;  // what was wrong, one a line
};

// The result of one series of cases.
struct SeriesResult {
  std::string name;
  std::int64_t cases = 0, declined = 0, failed = 0, numbers = 0;
  double worst = 0;  // error over bound
  std::string worst_where;
  double seconds = 0;
  double error_squares = 0, exact_squares = 0;  // of outputs stored in the series' type
  std::vector<Finding> findings;                // the first few
  std::string refusal;                          // the sentence of the first case declined

  void add(const conformance::Pick& pick, const conformance::Report& report);
  [[nodiscard]] double relative() const;
  // Whether the error of all outputs together is within the series' limit.
  [[nodiscard]] bool is_close() const;
};

struct CheckResult {
  std::string tier, device;
  std::string replay_words;  // ends each command that replays a case: " --device cuda:1"
  std::vector<SeriesResult> series;
  double seconds = 0;

  [[nodiscard]] bool is_exact() const;
  [[nodiscard]] bool is_declined() const;  // whether every case is
};

void show(const CheckResult& result, bool json);
void show_series(bool json);

[[nodiscard]] std::vector<std::string> series_names();

// The file from which a check resumes: a line that identifies the check, then one line of JSON for
// each finished series.
class Journal {
 public:
  // Reads the file; one of another check is a Failure. Without a name there is no journal.
  Journal(std::string file, const std::string& identity);
  [[nodiscard]] std::optional<SeriesResult> find(const std::string& name, std::int64_t cases) const;
  void append(const SeriesResult& result);

 private:
  std::string file_;
  std::map<std::string, SeriesResult> done_;
};

}  // namespace tilewise::cli
