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

// What is contiguous: all rows of one head, or one row of all heads.
enum class TensorLayout { kHeads, kRows };

class Workload {
 public:
  // Draws the inputs from a normal distribution, the same everywhere for the same seed. In large
  // tensors the drawn numbers repeat.
  Workload(const Case& shape, bool backward, std::uint64_t seed,
           TensorLayout layout = TensorLayout::kRows);

  [[nodiscard]] Call& call() { return *call_; }
  // Bytes of the tensors, without a workspace.
  [[nodiscard]] double operand_bytes() const { return operand_bytes_; }

 private:
  std::unique_ptr<Call> call_;
  std::vector<TensorVector<std::byte>> memory_;
  double operand_bytes_ = 0;
};

// The median of several runs' seconds, and their relative spread.
struct Timing {
  double median = 0, spread = 0;  // spread: interquartile range / median
  int runs = 0;
};
[[nodiscard]] Timing summarize(std::vector<double> samples);
// "1.2 %", or "one run" if there is no spread.
[[nodiscard]] std::string spread_text(const Timing& timing);

[[nodiscard]] double time_once(tw_operation operation, const Call& call, Runner& runner);
// Seconds of each run, until the budget (in seconds) is spent: at least one. On a GPU each is the
// mean of a batch of runs, by the host's clock from the batch's start until the GPU has finished
// it; if a single run already exceeds the budget, its time is the only result.
[[nodiscard]] std::vector<double> times_within(tw_operation operation, const Call& call,
                                               Runner& runner, double budget);

// Times runs until the budget is spent: one to warm up, then at least one more. If the first run
// alone exceeds the budget, its time is the result.
[[nodiscard]] Timing measure(tw_operation operation, const Call& call, Runner& runner,
                             double budget);

}  // namespace tilewise::cli
