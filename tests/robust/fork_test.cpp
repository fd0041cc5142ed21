// A process that forks in the middle of calls: its child calls with threads of its own and gets the
// same bits, and the parent goes on.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "robust/alone.h"
#include "robust/calls.h"
#include "robust/process.h"
#include "sanitizers.h"

namespace tilewise::robust {
namespace {

constexpr int kSeconds = 10;
// The address sanitizer makes a fork take half a second.
constexpr int kForks = TW_ADDRESS_SANITIZER ? 10 : 50;

// A call, and what it gives.
struct Known {
  explicit Known(Kind kind, std::uint64_t seed) : call(draw_call(kind, seed)) {
    expected = results_of(*call, with_threads(1));
    EXPECT_TRUE(call->get_ready(with_threads(3)));
  }

  // Takes no memory, so a fork meets nobody inside malloc.
  [[nodiscard]] bool repeats(int threads) const {
    call->spoil_outputs();
    return call->run(with_threads(threads)) == TW_OK && call->wrote(expected);
  }

  std::unique_ptr<Call> call;
  std::vector<unsigned char> expected;
};

class Callers {
 public:
  explicit Callers(int count) {
    for (int n = 0; n < count; ++n)
      own_.emplace_back(n % 2 == 0 ? Kind::kForward : Kind::kBackward,
                        static_cast<std::uint64_t>(n));
    for (const Known& known : own_) {
      threads_.emplace_back([this, &known] {
        for (int time = 0; !stops_; ++time) {
          if (!known.repeats(time % 3 == 0 ? 1 : 3)) ++wrong_;
          ++calls_;
        }
      });
    }
    wait_for_calls();
  }

  // Waits until the callers have made four more calls each, on average.
  void wait_for_calls() const {
    const long until = calls_ + 4 * static_cast<long>(own_.size());
    while (calls_ < until) std::this_thread::yield();
  }

  int stop() {
    stops_ = true;
    for (std::thread& thread : threads_) thread.join();
    return wrong_;
  }

 private:
  std::vector<Known> own_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stops_{false};
  std::atomic<long> calls_{0};
  std::atomic<int> wrong_{0};
};

bool child_repeats(const Known& known) {
  return run_in_child(kSeconds, [&] { return known.repeats(3) && known.repeats(1); }).empty();
}

TEST(Fork, InTheMiddleOfCalls) {
  if (TW_THREAD_SANITIZER) GTEST_SKIP() << "It starts no threads after a fork.";
  const Known first(Kind::kForward, 21), second(Kind::kBackward, 22);
  Callers callers(4);
  for (int time = 0; time < kForks; ++time) {
    const auto body = [&] {
      const bool good = first.repeats(3) && second.repeats(3) && first.repeats(3);
      return good && (time % 10 != 0 || child_repeats(second));
    };
    EXPECT_EQ(run_in_child(kSeconds, body), "") << "fork " << time;
    callers.wait_for_calls();
  }
  EXPECT_EQ(callers.stop(), 0);
  EXPECT_TRUE(first.repeats(3));
}

TEST(Fork, BeforeTheFirstCall) {
  EXPECT_EQ(run_alone(30, {"fork-cold"}), "");
}

}  // namespace

bool fork_cold(const Arguments&) {
  const auto call = draw_call(Kind::kBackward, 23);
  const auto body = [&] {
    if (!call->get_ready(with_threads(3)) || call->run(with_threads(3)) != TW_OK) return false;
    const Known known(Kind::kBackward, 23);
    const bool grandchild = TW_THREAD_SANITIZER || child_repeats(known);
    return call->wrote(known.expected) && grandchild && known.repeats(3);
  };
  const std::string ended = run_in_child(kSeconds, body);
  if (ended.empty() && body()) return true;
  static_cast<void>(std::fprintf(stderr, "in the child: %s\n", ended.c_str()));
  return false;
}

}  // namespace tilewise::robust
