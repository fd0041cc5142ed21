// A case with memory and random numbers in it, ready to run: what bench times and demo proves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/core/call.h"
#include "cli/core/memory.h"

namespace tilewise::cli {

// What lies together in memory: all rows of a head, or a row of all heads.
enum class TensorLayout { kHeads, kRows };

class Workload {
 public:
  // Inputs are drawn from a normal distribution, the same numbers for the same seed everywhere; in
  // large ones they come again.
  Workload(const Case& shape, bool backward, std::uint64_t seed,
           TensorLayout layout = TensorLayout::kRows);

  [[nodiscard]] Call& call() { return *call_; }
  // Of the tensors themselves, without any workspace.
  [[nodiscard]] double operand_bytes() const { return operand_bytes_; }

 private:
  std::unique_ptr<Call> call_;
  std::vector<TensorVector<std::byte>> memory_;
  double operand_bytes_ = 0;
};

// Seconds that each of several runs took: the middle one, and the middle half's width beside it.
struct Timing {
  double median = 0, spread = 0;  // spread: interquartile range / median
  int runs = 0;
};
[[nodiscard]] Timing summarize(std::vector<double> samples);
// "1.2 %", or "one run", which has no spread.
[[nodiscard]] std::string spread_text(const Timing& timing);

[[nodiscard]] double time_once(tw_operation operation, const Call& call, Runner& runner);
// Seconds of each run, as many as fit into the budget and one at least. On a device each is the
// mean of a batch of runs, by the host's clock around the batch and the wait for its end.
[[nodiscard]] std::vector<double> times_within(tw_operation operation, const Call& call,
                                               Runner& runner, double budget);

// Runs until the budget is spent: once to warm up and then at least once more, unless the first
// run alone took longer than the budget; then it is what counts.
[[nodiscard]] Timing measure(tw_operation operation, const Call& call, Runner& runner,
                             double budget);

}  // namespace tilewise::cli
