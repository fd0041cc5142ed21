// The machine's peak rates are measured, and every thread of a Team is called.
#include "bench/peak.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "bench/record.h"

namespace tilewise::cli {
namespace {

TEST(Team, CallsEachWorkerOnceATurn) {
  for (const int threads : {1, 2, 5}) {
    Team team(threads);
    EXPECT_EQ(team.size(), threads);
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(threads));
    for (int turn = 1; turn <= 300; ++turn) {
      StartingLine line(threads);
      team.run([&](int worker) {
        line.wait();
        ++calls[static_cast<std::size_t>(worker)];
      });
      for (const auto& each : calls) ASSERT_EQ(each, turn);
    }
  }
}

TEST(Peak, EachTypeHasOne) {
  Team team(2);
  const auto single = measure_peak(PeakKind::kFloat32, team);
  const auto twice = measure_peak(PeakKind::kFloat64, team);
  ASSERT_TRUE(single && twice);
  EXPECT_GT(single->gflops, 0.1);
  EXPECT_GT(twice->gflops, 0.1);
  EXPECT_FALSE(single->instructions.empty());
  for (const PeakKind kind : {PeakKind::kBfloat16Dot, PeakKind::kBfloat16Tile}) {
    const auto peak = measure_peak(kind, team);
    EXPECT_GT(peak.value_or(Peak{1, ""}).gflops, 0.1);
  }
}

TEST(Stream, ReadsAndWrites) {
  Team team(2);
  Stream stream(team);
  // Between a floppy disk and the fastest memory there is.
  for (const double rate : {stream.read(), stream.triad()}) {
    EXPECT_GT(rate, 1e7);
    EXPECT_LT(rate, 1e14);
  }
}

TEST(Record, NamesAFileAfterTheMachine) {
  const auto slug = [](const char* processor, int threads, std::vector<std::string> features) {
    return machine_slug(
        {{"machine",
          {{"processor", processor}, {"threads", threads}, {"features", std::move(features)}}}});
  };
  EXPECT_EQ(slug("AMD EPYC 7B13 64-Core", 2, {"fma", "avx2"}), "amd-epyc-7b13-64-core-2-avx2");
  EXPECT_EQ(slug("Intel(R) Xeon(R) @ 2.0GHz", 16, {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
            "intel-r-xeon-r-2-0ghz-16-amx-bf16");
  EXPECT_EQ(slug("../..", 1, {}), "1");
}

TEST(Record, NamesAFileAfterTheGpu) {
  EXPECT_EQ(machine_slug(
                {{"machine", {{"processor", "AMD EPYC"}}}, {"device", {{"name", "NVIDIA H200"}}}}),
            "nvidia-h200");
}

TEST(GpuPeak, IsThatOfTheDataSheets) {
  const auto tera = [](PeakKind kind, std::int32_t architecture, std::int32_t processors,
                       std::int32_t clock_khz) {
    tw_device_facts gpu{};
    gpu.architecture = architecture;
    gpu.processors = processors;
    gpu.clock_khz = clock_khz;
    const auto peak = known_peak(kind, gpu);
    return peak ? peak->gflops / 1e3 : 0;
  };
  // At the clock that the sheets count with: A100 312, 19.5 and 9.7; H100 SXM 989 at 1.83 GHz.
  EXPECT_NEAR(tera(PeakKind::kTensor, 80, 108, 1410000), 312, 1);
  EXPECT_NEAR(tera(PeakKind::kFloat32, 80, 108, 1410000), 19.5, 0.1);
  EXPECT_NEAR(tera(PeakKind::kFloat64, 80, 108, 1410000), 9.7, 0.1);
  EXPECT_NEAR(tera(PeakKind::kTensor, 90, 132, 1830000), 989, 1);
  // A generation that nobody knew of, and what only processors have.
  EXPECT_EQ(tera(PeakKind::kTensor, 130, 132, 1830000), 0);
  EXPECT_EQ(tera(PeakKind::kBfloat16Tile, 90, 132, 1830000), 0);
}

}  // namespace
}  // namespace tilewise::cli
