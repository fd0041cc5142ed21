// Predicts how long a plan takes: runs a small problem of the same kind and scales its time.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "plan/work.h"

namespace tilewise {
namespace {

// Queries and keys of a Sample, the short run that is timed. If kShortSample takes less than
// kNoTime, kLongSample is timed: its speed is nearer to that of long sequences.
constexpr int64 kShortSample = 128, kLongSample = 1024;
constexpr double kNoTime = 0.002;
constexpr int64 kMostHeads = 64;
constexpr double kEnoughSeconds = 0.05;
// Heads wider than this would take too much time and memory for a sample.
constexpr int64 kWidest = 4096;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// The problem on a few dense rows, without its mask and without options that need tensors. The
// batch is 1, with at most one head for each worker, and as many key heads as heads.
class Sample {
 public:
  Sample(const Problem& like, int workers, int64 rows) : rows_(rows) {
    problem_.operation = like.operation;
    problem_.shape = like.shape;
    problem_.shape.batch = 1;
    const int64 heads = std::min<int64>({like.shape.batch * like.shape.heads, workers, kMostHeads});
    problem_.shape.heads = problem_.shape.key_heads = heads;
    problem_.shape.queries = std::min(like.shape.queries, rows_);
    problem_.shape.keys = std::min(like.shape.keys, rows_);
    problem_.queries.rows = problem_.queries.longest = problem_.shape.queries;
    problem_.keys.rows = problem_.keys.longest = problem_.shape.keys;
    problem_.scores.scale = like.scores.scale;
    problem_.scores.softcap = like.scores.softcap;
    problem_.dropout = like.dropout;
    problem_.dropout.state = {};  // explain reads no data
    const int64 columns = like.operation == TW_PROBABILITIES ? rows_ : 0;
    const int64 widest = std::max({like.shape.dim, like.shape.value_dim, columns});
    if (widest > kWidest) return;
    bytes_ = static_cast<std::size_t>(heads * rows_ * widest * 8);
    memory_.reset(static_cast<std::byte*>(std::calloc(bytes_, kTensors)));
    if (memory_) lay_out(like);
  }

  explicit operator bool() const { return memory_ != nullptr; }
  const Problem& problem() const { return problem_; }

 private:
  static constexpr std::size_t kTensors = 9;

  View next(DType dtype, int64 columns) {
    const int64 heads = problem_.shape.heads;
    std::byte* data = memory_.get() + bytes_ * used_++;
    return {data, dtype, {1, heads, rows_, columns}, {0, rows_ * columns, columns, 1}};
  }

  void lay_out(const Problem& like) {
    const Shape& shape = problem_.shape;
    const DType dtype = like.query.dtype;
    const bool matrix = like.operation == TW_PROBABILITIES;
    problem_.query = next(dtype, shape.dim);
    problem_.key = next(dtype, shape.dim);
    problem_.value = next(dtype, shape.value_dim);
    problem_.output =
        next(like.output ? like.output.dtype : dtype, matrix ? rows_ : shape.value_dim);
    problem_.lse = next(DType::kFloat32, 1);
    if (like.operation != TW_BACKWARD) return;
    problem_.gradients.output = next(dtype, shape.value_dim);
    if (like.gradients.query) problem_.gradients.query = next(dtype, shape.dim);
    if (like.gradients.key) problem_.gradients.key = next(dtype, shape.dim);
    if (like.gradients.value) problem_.gradients.value = next(dtype, shape.value_dim);
  }

  Problem problem_;
  std::unique_ptr<std::byte, Free> memory_;
  int64 rows_;
  std::size_t bytes_ = 0, used_ = 0;
};

// The time that the sample takes, and its operations; both 0 if it cannot run.
struct Trial {
  double seconds = 0, flops = 0;
};

Trial try_sample(const Sample& sample, const Plan& plan, const Parallel& parallel) {
  if (!sample) return {};
  const Plan small = plan.backend->plan(&sample.problem(), {{TW_CPU, 0}, plan.workers, true});
  const std::unique_ptr<std::byte, Free> workspace(
      static_cast<std::byte*>(std::malloc(static_cast<std::size_t>(small.workspace_bytes))));
  if (!workspace) return {};
  // The plan may give the sample fewer workers, and its workspace is for that number.
  const Parallel fewer(small.workers);
  const Parallel& used = small.workers == parallel.workers() ? parallel : fewer;
  double best = 0, spent = 0;
  for (int run = 0; run < 3 && spent < kEnoughSeconds; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = plan.backend->run(&sample.problem(), small, {used, workspace.get()});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (!status.ok()) return {};
    best = run == 0 ? took.count() : std::min(best, took.count());
    spent += took.count();
  }
  return {best, work_of(sample.problem(), small.tile, 1).flops};
}

}  // namespace

double predicted_seconds(const Problem& problem, const Plan& plan, const Work& work,
                         const Parallel& parallel) {
  if (!(work.flops > 0)) return 0;
  Trial trial = try_sample(Sample(problem, plan.workers, kShortSample), plan, parallel);
  if (trial.flops > 0 && trial.seconds < kNoTime) {
    const Trial longer = try_sample(Sample(problem, plan.workers, kLongSample), plan, parallel);
    if (longer.flops > 0) trial = longer;
  }
  return trial.flops > 0 ? trial.seconds * work.flops / trial.flops : 0;
}

}  // namespace tilewise
