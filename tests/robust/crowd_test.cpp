// Many threads that call at once, each with outputs of its own, get the bits that one gets.
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "robust/calls.h"
#include "robust/hosts.h"
#include "sanitizers.h"

namespace tilewise::robust {
namespace {

constexpr int kCallers = 16;
constexpr std::size_t kCalls = TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER ? 60 : 200;

std::unique_ptr<Call> call_number(std::size_t n) {
  return draw_call(kKinds[n % std::size(kKinds)], n);
}

// Makes call `n` with the library's threads or a host's, as `way` says. One in seven is first made
// wrongly, and refused.
bool is_right(std::size_t n, std::size_t way, const std::vector<unsigned char>& expected) {
  const Host alone(kHostWorkers, backwards()), pair(kHostWorkers, on_two_threads());
  const std::array<tw_execution, 4> ways{with_threads(1), with_threads(4), alone.execution(),
                                         pair.execution()};
  const tw_execution& where = ways[way % ways.size()];
  const auto call = call_number(n);
  if (!call->get_ready(where)) return false;
  if (way % 7 == 0) {
    const auto before = call->results();
    if (call->run_refused(where) != TW_INVALID || !call->wrote(before)) return false;
  }
  return call->run(where) == TW_OK && call->wrote(expected);
}

TEST(Crowd, ManyCallersGetTheBitsOfOne) {
  std::vector<std::vector<unsigned char>> expected;
  for (std::size_t n = 0; n < kCalls; ++n)
    expected.push_back(results_of(*call_number(n), with_threads(1)));

  std::vector<std::atomic<int>> wrong(kCalls);
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (std::size_t i = 0; i < kCalls; ++i) {
        const std::size_t n = (i + caller * 13) % kCalls;
        if (!is_right(n, i + caller, expected[n])) wrong[n].fetch_add(1);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (std::size_t n = 0; n < kCalls; ++n) EXPECT_EQ(wrong[n].load(), 0) << call_number(n)->name();
}

}  // namespace
}  // namespace tilewise::robust
