#include "cli/core/workload.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "cli/core/element.h"

namespace tilewise::cli {
namespace {

// A normal distribution. std::normal_distribution would give other numbers with another standard
// library: the C++ standard fixes the numbers of std::mt19937_64, but not of distributions.
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : engine_(seed) {}

  double operator()() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  double uniform() { return (static_cast<double>(engine_() >> 11) + 0.5) * 0x1p-53; }

  std::mt19937_64 engine_;
};

// Fills ALiBi's usual slopes: 2^(-8 (h + 1) / heads).
void fill_slopes(tw_tensor& slopes) {
  const std::int64_t heads = slopes.shape[0];
  for (std::int64_t head = 0; head < heads; ++head) {
    const double power = 8.0 * static_cast<double>(head + 1) / static_cast<double>(heads);
    store_element(slopes.dtype, slopes.data, head, std::exp2(-power));
  }
}

// The most elements that are drawn. A larger tensor repeats them, because drawing is slow.
constexpr std::int64_t kMostDrawn = std::int64_t{1} << 20;

void fill_normal(Normal& normal, tw_tensor& tensor) {
  const std::int64_t count = element_count(tensor), drawn = std::min(count, kMostDrawn);
  for (std::int64_t i = 0; i < drawn; ++i) store_element(tensor.dtype, tensor.data, i, normal());
  const auto width = static_cast<std::int64_t>(tw_dtype_bytes(tensor.dtype));
  auto* begin = static_cast<std::byte*>(tensor.data);
  for (std::int64_t done = drawn; done < count; done += drawn)
    std::memcpy(begin + done * width, begin,
                static_cast<std::size_t>(std::min(drawn, count - done) * width));
}

// Gives a dense tensor (..., rows, heads, dim) the strides of one whose heads are contiguous.
void gather_heads(tw_tensor& tensor) {
  const auto heads = static_cast<std::size_t>(tensor.rank - 2), rows = heads - 1;
  tensor.stride[rows] = tensor.shape[heads + 1];
  tensor.stride[heads] = tensor.shape[rows] * tensor.shape[heads + 1];
}

}  // namespace

Workload::Workload(const Case& shape, bool backward, std::uint64_t seed, TensorLayout layout)
    : call_(std::make_unique<Call>()) {
  describe(shape, backward, *call_);
  if (layout == TensorLayout::kHeads) {
    tw_request& request = call_->request;
    tw_gradients& gradients = call_->gradients;
    for (tw_tensor* tensor :
         {&request.query, &request.key, &request.value, &request.output, &gradients.query,
          &gradients.key, &gradients.value, &gradients.output})
      if (tensor->rank > 0) gather_heads(*tensor);
  }
  Normal normal(seed);
  for (const NamedTensor& named : tensors_of(*call_)) {
    tw_tensor& tensor = *named.tensor;
    memory_.emplace_back(static_cast<std::size_t>(tensor.byte_size));
    tensor.data = memory_.back().data();
    operand_bytes_ += static_cast<double>(tensor.byte_size);
    if (named.is_output) continue;
    if (named.name == "slopes") {
      fill_slopes(tensor);
      continue;
    }
    fill_normal(normal, tensor);
  }
}

Timing summarize(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto quantile = [&](double part) {
    const double place = part * static_cast<double>(samples.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, samples.size() - 1);
    return std::lerp(samples[below], samples[above], place - std::floor(place));
  };
  Timing timing;
  timing.runs = static_cast<int>(samples.size());
  timing.median = quantile(0.5);
  timing.spread = timing.median > 0 ? (quantile(0.75) - quantile(0.25)) / timing.median : 0;
  return timing;
}

std::string spread_text(const Timing& timing) {
  return timing.runs == 1 ? "one run" : fmt::format("{:.1f} %", 100 * timing.spread);
}

namespace {

// Seconds of one run, as the mean of `runs` in a row. On a device the host waits only at the end.
double time_batch(tw_operation operation, const Call& call, Runner& runner, int runs) {
  const auto start = std::chrono::steady_clock::now();
  for (int run = 0; run < runs; ++run) runner.run(operation, call);
  runner.finish();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / runs;
}

// How many runs make one batch on a device: about 10 ms of them, so that the host's launches and
// its wait at the end, some 10 us, hardly count.
int runs_a_batch(const Runner& runner, double seconds_a_run) {
  constexpr double kBatchSeconds = 0.01;
  constexpr int kMostRuns = 1000;
  if (!runner.is_on_device()) return 1;
  const double runs = kBatchSeconds / std::max(seconds_a_run, 1e-9);
  return std::max(1, static_cast<int>(std::min<double>(runs, kMostRuns)));
}

}  // namespace

double time_once(tw_operation operation, const Call& call, Runner& runner) {
  return time_batch(operation, call, runner, 1);
}

std::vector<double> times_within(tw_operation operation, const Call& call, Runner& runner,
                                 double budget) {
  constexpr std::size_t kMostTimes = 10000;
  std::vector<double> times;
  double spent = 0;
  int runs = 1;
  if (runner.is_on_device()) {
    // The first run sets the size of the batches. It counts only if it exceeds the budget.
    const double first = time_once(operation, call, runner);
    if (first > budget) return {first};
    runs = runs_a_batch(runner, first);
  }
  while (times.empty() || (spent < budget && times.size() < kMostTimes)) {
    times.push_back(time_batch(operation, call, runner, runs));
    spent += times.back() * runs;
  }
  return times;
}

Timing measure(tw_operation operation, const Call& call, Runner& runner, double budget) {
  const double first = time_once(operation, call, runner);
  if (first > budget) return summarize({first});
  return summarize(times_within(operation, call, runner, budget));
}

}  // namespace tilewise::cli
