// Floating-point modes are the caller's: a call leaves them as they are, and gives the same bits
// under all of them.
#include <gtest/gtest.h>

#include <cstdio>
#include <thread>

#include "robust/alone.h"
#include "robust/calls.h"
#include "robust/hosts.h"
#include "robust/modes.h"
#include "robust/process.h"
#include "sanitizers.h"

namespace tilewise::robust {
namespace {

constexpr std::uint64_t kSeeds = TW_ADDRESS_SANITIZER || TW_THREAD_SANITIZER ? 8 : 25;

// Makes the call under a setting and says whether the modes were left alone.
bool leaves_modes(Call& call, const tw_execution& where, const Setting& setting) {
  const Under under(setting);
  const Modes before = modes();
  const tw_status status = call.run(where);
  return modes() == before && status == TW_OK;
}

void expect_same(Call& call, const tw_execution& where, const Setting& setting,
                 const std::vector<unsigned char>& expected) {
  ASSERT_TRUE(call.get_ready(where)) << call.message();
  call.spoil_outputs();
  EXPECT_TRUE(leaves_modes(call, where, setting))
      << call.name() << " under " << setting.name << ": " << call.message();
  EXPECT_TRUE(call.wrote(expected)) << call.name() << " under " << setting.name;
}

TEST(Arithmetic, CallsLeaveModesAndGiveTheSameBits) {
  for (const Kind kind : kKinds) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      const auto call = draw_call(kind, seed);
      const auto expected = results_of(*call, with_threads(1));
      for (const Setting& setting : all_settings()) {
        expect_same(*call, with_threads(1), setting, expected);
        expect_same(*call, with_threads(3), setting, expected);
      }
    }
  }
}

TEST(Arithmetic, EmbeddersThreadsMayHaveModesOfTheirOwn) {
  for (const Setting& setting : all_settings()) {
    std::atomic<bool> left{true};
    const auto run = [&](std::int64_t tasks, const auto& task) {
      std::thread other([&] {
        const Under under(setting);
        const Modes before = modes();
        for (std::int64_t t = 0; t < tasks; ++t) {
          task(t, 0);
          if (modes() != before) left = false;
        }
      });
      other.join();
    };
    const Host host(kHostWorkers, run);
    for (const Kind kind : kKinds) {
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        const auto call = draw_call(kind, seed);
        EXPECT_EQ(results_of(*call, host.execution()), results_of(*call, with_threads(1)))
            << call->name() << " under " << setting.name;
      }
    }
    EXPECT_TRUE(left.load()) << setting.name;
  }
}

TEST(Arithmetic, QuestionsAndRefusalsLeaveModes) {
  for (const Setting& setting : all_settings()) {
    for (const Kind kind : kKinds) {
      const auto call = draw_call(kind, 3);
      ASSERT_TRUE(call->get_ready(with_threads(2)));
      const bool attention = kind < Kind::kMerge;
      char text[4096];
      const Under under(setting);
      const Modes before = modes();
      const tw_status refused = call->run_refused(with_threads(2));
      const tw_status prepared = attention ? call->prepare(with_threads(2)) : TW_OK;
      const tw_status explained =
          attention ? call->explain(with_threads(2), text, sizeof text) : TW_OK;
      const bool left = modes() == before;
      EXPECT_TRUE(left) << call->name() << " under " << setting.name;
      EXPECT_EQ(refused, TW_INVALID);
      EXPECT_EQ(prepared, TW_OK);
      EXPECT_EQ(explained, TW_OK);
    }
  }
}

TEST(Arithmetic, ThreadsDoNotKeepTheModesOfWhoStartedThem) {
  EXPECT_EQ(run_alone(20, {"start-threads-under-flush"}), "");
}

}  // namespace

bool start_threads_under_flush(const Arguments&) {
  const Setting& flush = all_settings()[1];
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto call = draw_call(Kind::kForward, seed);
    if (!call->get_ready(with_threads(4)) || !leaves_modes(*call, with_threads(4), flush))
      return false;
    const auto under_flush = call->results();
    const auto alone = results_of(*call, with_threads(1));
    for (int time = 0; time < 20; ++time) {
      if (results_of(*call, with_threads(4)) == alone && under_flush == alone) continue;
      static_cast<void>(std::fprintf(stderr, "%s has other bits\n", call->name().c_str()));
      return false;
    }
  }
  return true;
}

}  // namespace tilewise::robust
