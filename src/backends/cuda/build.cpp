// Compiles kernels ahead of their first call, into the disk cache.
#include <exception>
#include <mutex>

#include "backends/cuda/catalog.h"
#include "backends/cuda/compiler/at_once.h"
#include "backends/cuda/compiler/find.h"
#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/stock.h"

namespace tilewise::cuda {
namespace {

struct Job {
  const Variant* variant;
  const Target* target;

  std::string name() const {
    return std::string(variant->name) + " for " + architecture(*target, Form::kCubin);
  }
};

// The state of one build: progress, and the first failure.
class Build {
 public:
  Build(const Surroundings& around, const Stock& stock, const Progress& progress)
      : around_(around), stock_(stock), progress_(progress) {}

  void begin(std::size_t total) {
    total_ = total;
    tell("");
  }

  // Counts kernels that exist already as done, and returns the others.
  std::vector<Job> look(const std::vector<Job>& jobs) {
    std::vector<Job> left;
    for (const Job& job : jobs) {
      Cubin cubin;
      if (is_stopped_) break;
      if (!stock_.find(*job.variant, *job.target, cubin))
        left.push_back(job);
      else
        finish(job, cubin.from == From::kCache ? " is in the cache"
                    : cubin.is_ptx             ? " is in the pack as PTX, which the driver compiles"
                                               : " is in the pack");
    }
    return left;
  }

  // Does nothing after a failure.
  void compile(const Job& job) {
    if (has_failed()) return;
    Status status;
    try {
      status = make(job);
    } catch (const std::exception& error) {
      status = failed("There is no memory to compile kernels (%s).", error.what());
    }
    const std::lock_guard lock(mutex_);
    if (status.ok())
      finish(job, " is compiled");
    else if (said_.ok())
      said_ = status;
  }

  const Status& said() const { return said_; }

 private:
  bool has_failed() {
    const std::lock_guard lock(mutex_);
    return !said_.ok();
  }

  Status make(const Job& job) const {
    Cubin cubin;
    TW_TRY(find_cubin(*job.variant, *job.target, around_, cubin));
    if (cubin.is_ptx)
      return failed("%s cannot be compiled here: the pack holds its PTX alone.",
                    job.name().c_str());
    if (cubin.from != From::kNvrtc || cubin.is_kept || !around_.dump.empty()) return {};
    const std::string why = DiskCache(around_.cache).why_not_kept();
    return failed("%s was compiled and is not kept: %s", job.name().c_str(), why.c_str());
  }

  void finish(const Job& job, const char* how) {
    ++done_;
    tell((job.name() + how).c_str());
  }

  void tell(const char* what) {
    if (!progress_.call || is_stopped_) return;
    is_stopped_ = progress_.call(progress_.host, static_cast<int64_t>(done_),
                                 static_cast<int64_t>(total_), what) == 0;
    if (is_stopped_ && said_.ok() && done_ < total_)
      said_ = failed("The caller has stopped it: %zu of %zu kernels are ready.", done_, total_);
  }

  const Surroundings& around_;
  const Stock& stock_;
  Progress progress_;
  std::mutex mutex_;
  std::size_t done_ = 0, total_ = 0;
  bool is_stopped_ = false;
  Status said_;
};

// Fails if the remaining kernels cannot be compiled, or cannot be kept.
Status check(const Surroundings& around, const Stock& stock, const std::vector<Job>& left) {
  for (const Job& job : left)
    if (const std::string why = stock.why_not_compiled(*job.target); !why.empty())
      return failed("%s", why.c_str());
  if (!around.dump.empty()) return {};
  const DiskCache cache(around);
  if (cache.usable()) return {};
  return failed("There is no cache to compile kernels into. %s", cache.why_not().c_str());
}

}  // namespace

Status build_kernels(const Selection& selection, const Surroundings& around,
                     const Progress& progress) {
  if (!selection.listed_alone.empty())
    return invalid(
        "'%.80s' matches kernels with features compiled in, each of which is built by "
        "its full name.",
        selection.listed_alone.c_str());
  std::vector<Job> jobs;
  for (const Target& target : selection.targets)
    for (const Variant* variant : selection.variants) jobs.push_back({variant, &target});
  const Stock stock(around, selection.driver_version);
  Build build(around, stock, progress);
  build.begin(jobs.size());
  const std::vector<Job> left = build.look(jobs);
  if (left.empty() || !build.said().ok()) return build.said();
  TW_TRY(check(around, stock, left));
  at_once(left.size(), [&](std::size_t i) { build.compile(left[i]); });
  return build.said();
}

}  // namespace tilewise::cuda
