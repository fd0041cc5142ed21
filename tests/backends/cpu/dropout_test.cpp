// Decisions of dropout, lane by lane, against core's.
#include <random>

#include "core/philox.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuDropout : public EveryIsa {};
TW_ON_EVERY_ISA(CpuDropout);

struct Corner {
  int64 batch, head, row, column;  // of the tile's first element
};

// The kernel's factors for a tile whose lanes are rows and, every third, another head.
template <class T>
void compare(const Kernels<T>& kernels, const core::Dropout& decide, const Corner& corner,
             int64 keys) {
  const auto lanes = static_cast<std::size_t>(kernels.pitch);
  std::vector<uint32> row(lanes), upper(lanes), head(lanes);
  const auto row_of = [&](std::size_t lane) { return corner.row + static_cast<int64>(lane); };
  const auto head_of = [&](std::size_t lane) { return corner.head + (lane % 3 == 0 ? 1 : 0); };
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    row[lane] = static_cast<uint32>(row_of(lane) / 16 * 8 + row_of(lane) % 8);
    upper[lane] = static_cast<uint32>(row_of(lane) % 16 / 8);
    head[lane] = static_cast<uint32>(head_of(lane));
  }
  const core::PhiloxKey key = decide.key();
  const auto scale = static_cast<T>(decide.scale());
  std::vector<T> keep(lanes * static_cast<std::size_t>(keys), T(-1));
  kernels.forward.drop({{key.word[0], key.word[1]},
                        static_cast<uint32>(corner.batch),
                        decide.threshold(),
                        corner.column},
                       {row.data(), upper.data(), head.data()}, scale,
                       {keep.data(), keys, kernels.pitch / kernels.lanes});
  for (int64 j = 0; j < keys; ++j) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const bool keeps = decide.keeps(corner.batch, head_of(lane), row_of(lane), corner.column + j);
      ASSERT_EQ(keep[static_cast<std::size_t>(j) * lanes + lane], keeps ? scale : T(0))
          << "lane " << lane << ", key " << j << " of " << keys << ", column " << corner.column;
    }
  }
}

TEST_P(CpuDropout, DecidesAsCoreDoes) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    std::mt19937_64 random(3);
    for (const int32 threshold : {1, 6554, 32768, 65535}) {
      const core::Dropout decide(random(), random(), threshold);
      for (const int64 base : {int64{0}, int64{5}, int64{1} << 31, (int64{1} << 32) - 3,
                               (int64{1} << 40) + 7, int64{1} << 60}) {
        for (const int64 keys : {1, 7, 32, 45}) {
          compare(kernels, decide, {base, base + 1, base + 13, base + keys}, keys);
        }
      }
    }
  });
}

}  // namespace
}  // namespace tilewise::cpu
