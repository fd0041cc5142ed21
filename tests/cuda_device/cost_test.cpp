// What a warm call costs its thread, beside a launch of an empty kernel in the same run.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cuda_device/twins.h"
#include "sanitizers.h"

namespace tilewise::gpu {
namespace {

class Cost : public GpuTest {};

constexpr int kTurns = 60, kCalls = 48;  // calls a turn: few enough for the queue not to wait

template <class Body>
void take_turn(std::vector<double>& nanoseconds, Handle stream, const Body& body) {
  for (int n = 0; n < kCalls; ++n) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    nanoseconds.push_back(
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  must(driver().wait(stream), "to wait");
}

// The tenth percentile of the turns. Slower ones include other work of the machine.
double usual(std::vector<double>& numbers) {
  const auto place = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 10);
  std::nth_element(numbers.begin(), place, numbers.end());
  return *place;
}

TEST_F(Cost, AWarmCallIsAnEmptyLaunchAndTwoMicroseconds) {
  Twins twins;
  const Stream stream;
  const Handle empty = (started(), kernel("empty"));
  const Execution where = on_device(stream.get());
  const Request plain = attention(twins), cached = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  detail::Lowered plain_form(plain), cached_form(cached);
  const tw_execution execution = detail::lowered(where);
  const auto call = [&](detail::Lowered& form) {
    if (tw_forward(form.for_operation(TW_FORWARD), &execution, nullptr, 0) != TW_OK)
      must(1, "a call");
  };
  call(plain_form);
  call(cached_form);
  std::vector<double> launches, calls, cached_calls;
  for (int turn = 0; turn < kTurns; ++turn) {
    take_turn(launches, stream.get(), [&] {
      driver().launch(empty, 1, 1, 1, 128, 1, 1, 0, stream.get(), nullptr, nullptr);
    });
    take_turn(calls, stream.get(), [&] { call(plain_form); });
    take_turn(cached_calls, stream.get(), [&] { call(cached_form); });
  }
  const double launch = usual(launches), dense_call = usual(calls),
               cached_call = usual(cached_calls);
  std::printf("empty launch %.0f ns; tw_forward %.0f ns, %.0f more; in pages %.0f ns, %.0f more\n",
              launch, dense_call, dense_call - launch, cached_call, cached_call - launch);
  if (TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER) return;
#if defined(NDEBUG)
  // On a slow host a launch takes longer than that, and so may what is around it.
  const double most = std::max(2000.0, launch);
  EXPECT_LE(dense_call - launch, most);
  EXPECT_LE(cached_call - launch, most);
#endif
}

}  // namespace
}  // namespace tilewise::gpu
