// Memory grows with the length and not with its square: the workspace as stated, and what a process
// really holds while it calls.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>

#include "robust/calls.h"
#include "robust/process.h"
#include "robust/shortage.h"
#include "sanitizers.h"

namespace tilewise::robust {
namespace {

constexpr std::int64_t kPage = 64;
// The most workspace that forward takes for one thread.
constexpr std::size_t kMostPerThread = 2 << 20;
// For each row its delta and its denominator in two numbers, its parts of the gradients of slopes
// and sinks, and a query gradient as wide as the widest vector.
constexpr double kBytesPerRow = 12 + 8 + 64;

enum class Feature { kPlain, kBias, kPaged, kSinksAndSlopes };
constexpr Feature kFeatures[] = {Feature::kPlain, Feature::kBias, Feature::kPaged,
                                 Feature::kSinksAndSlopes};

// One long head, forward and backward over the same tensors.
class LongCall {
 public:
  LongCall(std::int64_t length, Feature feature) : memory_(1), length_(length) {
    const std::vector<std::int64_t> rows{1, length, 1, 2};
    const std::vector<std::int64_t> keys =
        feature == Feature::kPaged ? std::vector<std::int64_t>{length / kPage, kPage, 1, 2} : rows;
    request_.size = sizeof request_;
    request_.query = memory_.input(TW_FLOAT32, rows);
    request_.key = memory_.input(TW_FLOAT32, keys);
    request_.value = memory_.input(TW_FLOAT32, keys);
    request_.output = memory_.output(TW_FLOAT32, rows);
    request_.lse = memory_.output(TW_FLOAT32, {1, 1, length});
    request_.options = &options_;
    options_.size = sizeof options_;
    gradients_.size = sizeof gradients_;
    gradients_.output = memory_.input(TW_FLOAT32, rows);
    gradients_.query = memory_.output(TW_FLOAT32, rows);
    gradients_.key = memory_.output(TW_FLOAT32, keys);
    gradients_.value = memory_.output(TW_FLOAT32, keys);
    see(64);
    scores_.size = sizeof scores_;
    options_.scores = &scores_;
    if (feature == Feature::kBias) add_bias();
    if (feature == Feature::kPaged) add_pages();
    if (feature == Feature::kSinksAndSlopes) add_sinks_and_slopes();
  }

  // Causal; each row sees the `left` keys before its own, or with -1 all.
  void see(std::int64_t left) {
    mask_ = {};
    mask_.size = sizeof mask_;
    mask_.has_right = 1;
    mask_.has_left = left >= 0;
    mask_.left = left >= 0 ? left : 0;
    options_.mask = &mask_;
  }

  std::size_t workspace(tw_operation operation) {
    select(operation);
    std::size_t bytes = 0;
    const tw_execution where = with_threads(2);
    EXPECT_EQ(tw_workspace(operation, &request_, &where, &bytes, message_, sizeof message_), TW_OK)
        << message_;
    return bytes;
  }

  // Touches all memory of a run beforehand.
  void get_ready() {
    workspace_.assign(std::max(workspace(TW_FORWARD), workspace(TW_BACKWARD)), 0xFF);
    memory_.spoil_outputs();
  }

  bool run(tw_operation operation) {
    select(operation);
    tw_execution where = with_threads(2);
    where.workspace = workspace_.data();
    where.workspace_bytes = workspace_.size();
    const auto function = operation == TW_FORWARD ? tw_forward : tw_backward;
    return function(&request_, &where, message_, sizeof message_) == TW_OK;
  }

  [[nodiscard]] const char* message() const { return message_; }

 private:
  void select(tw_operation operation) {
    request_.gradients = operation == TW_BACKWARD ? &gradients_ : nullptr;
  }

  void add_bias() {
    scores_.bias = memory_.input(TW_FLOAT32, {1, 1, 1, length_});
    gradients_.bias = memory_.output(TW_FLOAT32, {1, 1, 1, length_});
  }

  void add_sinks_and_slopes() {
    scores_.sinks = memory_.input(TW_FLOAT32, {1});
    scores_.slopes = memory_.input(TW_FLOAT32, {1});
    gradients_.sinks = memory_.output(TW_FLOAT32, {1});
    gradients_.slopes = memory_.output(TW_FLOAT32, {1});
  }

  // Pages in an order of their own.
  void add_pages() {
    std::vector<std::int64_t> pages(static_cast<std::size_t>(length_ / kPage));
    std::iota(pages.rbegin(), pages.rend(), 0);
    keys_.size = sizeof keys_;
    keys_.used = memory_.indices({length_});
    cache_.size = sizeof cache_;
    cache_.page_table = memory_.indices(pages);
    cache_.page_table.rank = 2;
    cache_.page_table.shape[1] = std::exchange(cache_.page_table.shape[0], 1);
    cache_.page_table.stride[1] = 1;
    options_.keys = &keys_;
    options_.cache = &cache_;
  }

  Memory memory_;
  std::int64_t length_;
  tw_request request_{};
  tw_options options_{};
  tw_mask mask_{};
  tw_scores scores_{};
  tw_sequences keys_{};
  tw_cache cache_{};
  tw_gradients gradients_{};
  std::vector<unsigned char> workspace_;
  char message_[512] = "";
};

TEST(LinearMemory, TwiceTheLengthTakesAtMostTwiceTheWorkspace) {
  for (const Feature feature : kFeatures) {
    for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD}) {
      std::size_t before = LongCall(512, feature).workspace(operation);
      for (std::int64_t length = 1024; length <= 16384; length *= 2) {
        const std::size_t now = LongCall(length, feature).workspace(operation);
        EXPECT_LE(now, 2 * before) << length;
        // For two threads: tiles have a largest size, so the workspace of forward is bounded.
        if (operation == TW_FORWARD) {
          EXPECT_LE(now, 2 * kMostPerThread) << length;
        }
        before = now;
      }
    }
  }
}

// At lengths that are multiples of the largest tile. At others all tiles are a few rows shorter.
TEST(LinearMemory, ForwardStopsGrowing) {
  EXPECT_EQ(LongCall(3 << 14, Feature::kPlain).workspace(TW_FORWARD),
            LongCall(3 << 19, Feature::kPlain).workspace(TW_FORWARD));
}

TEST(LinearMemory, BackwardTakesAFewBytesARow) {
  for (const Feature feature : kFeatures) {
    const double once = static_cast<double>(LongCall(1 << 13, feature).workspace(TW_BACKWARD));
    const double twice = static_cast<double>(LongCall(1 << 14, feature).workspace(TW_BACKWARD));
    EXPECT_LE((twice - once) / (1 << 13), kBytesPerRow + 0.5);
  }
}

TEST(LinearMemory, AMillionRowsMayBeAskedAbout) {
  constexpr std::int64_t kRows = 1 << 20;
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD}) {
    LongCall call(kRows, Feature::kSinksAndSlopes);
    const std::size_t bytes = call.workspace(operation);
    EXPECT_GT(bytes, 0u);
    EXPECT_LE(static_cast<double>(bytes),
              (kBytesPerRow + 0.5) * kRows + static_cast<double>(2 * kMostPerThread));
  }
}

#if !TW_ADDRESS_SANITIZER && !TW_THREAD_SANITIZER

// The most that this process held at any time, in bytes.
long peak() {
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss * 1024 : -1;
}

// Measured in a child process, whose peak begins at the memory that it holds.
std::string grows_within(long bytes, LongCall& call) {
  call.get_ready();
  return run_in_child(60, [&] {
    LongCall small(128, Feature::kPlain);
    small.get_ready();
    const bool warm = small.run(TW_FORWARD) && small.run(TW_BACKWARD);
    const long before = peak(), asked = memory_requests();
    const bool good = call.run(TW_FORWARD) && call.run(TW_BACKWARD);
    if (!warm || !good) return false;
    const bool lean = peak() - before <= bytes && memory_requests() == asked;
    if (!lean)
      static_cast<void>(std::fprintf(stderr, "%ld bytes more, %ld requests\n", peak() - before,
                                     memory_requests() - asked));
    return lean;
  });
}

// What threads touch of their stacks, and what the kernel counts late.
constexpr long kSlack = 1 << 20;

TEST(LinearMemory, CallsHoldNothingBesideTheCallersMemory) {
  for (const Feature feature : kFeatures) {
    for (std::int64_t length = 1024; length <= 16384; length *= 2) {
      LongCall call(length, feature);
      EXPECT_EQ(grows_within(kSlack, call), "") << length;
    }
  }
}

TEST(LinearMemory, NorDoTheyWhenEveryRowSeesAllBeforeIt) {
  LongCall call(4096, Feature::kPlain);
  call.see(-1);
  EXPECT_EQ(grows_within(kSlack, call), "");
}

TEST(LinearMemory, ThePeakIsMeasured) {
  const auto body = [] {
    constexpr std::size_t kBytes = 4 * kSlack;
    const long before = peak();
    // Fresh pages; malloc might have old ones.
    void* more = mmap(nullptr, kBytes, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED) return false;
    std::memset(more, 1, kBytes);
    return peak() - before >= 3 * kSlack;
  };
  EXPECT_EQ(run_in_child(10, body), "");
}

#else

TEST(LinearMemory, CallsHoldNothingBesideTheCallersMemory) {
  GTEST_SKIP() << "A sanitizer's own memory hides what the library holds.";
}

#endif

}  // namespace
}  // namespace tilewise::robust
