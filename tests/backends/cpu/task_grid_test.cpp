// How a forward pass is cut: whatever the shape and the number of workers, every row of every head
// belongs to one tile, every key to one split, and what tasks take together lies side by side.
#include "backends/cpu/forward/task_grid.h"

#include <array>
#include <set>

#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuCut : public EveryIsa {};
TW_ON_EVERY_ISA(CpuCut);

constexpr int kWorkers[] = {1, 2, 3, 16, 200};

std::vector<Problem> problems() {
  std::vector<Problem> all;
  for (const int64 batch : {1, 3})
    for (const int64 queries : {1, 2, 7, 24, 100, 1000})
      for (const int64 keys : {1, 500, 5000})
        for (const auto& [heads, key_heads] :
             {std::pair<int64, int64>{1, 1}, {8, 8}, {8, 2}, {14, 7}, {48, 3}, {128, 1}})
          for (const int64 right : {int64{0}, core::kUnlimited}) {
            Problem p;
            p.shape = {batch, queries, keys, heads, key_heads, 8, 8};
            p.queries.rows = queries;
            p.keys.rows = keys;
            p.mask.right = right;
            p.key.stride = {keys * key_heads * 8, 8, key_heads * 8, 1};
            all.push_back(p);
          }
  return all;
}

// body(problem, cut) for all of them.
template <class T, class Body>
void for_each_cut(const Kernels<T>& kernels, const Body& body) {
  for (const Problem& p : problems()) {
    for (const int workers : kWorkers) {
      const Shape& s = p.shape;
      SCOPED_TRACE(testing::Message()
                   << s.batch << " x " << s.queries << " of " << s.keys << ", " << s.heads << " of "
                   << s.key_heads << " heads, " << workers << " workers, right " << p.mask.right);
      body(p, cut_of(p, kernels, workers));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

void expect_rows_once(const Problem& p, const Cut& cut) {
  const Shape& s = p.shape;
  std::vector<int> times(static_cast<std::size_t>(s.batch * s.heads * s.queries), 0);
  for (int64 n = 0; n < cut.tiles(); ++n) {
    const QueryTile tile = cut.tile(p, n);
    ASSERT_LE(tile.lanes(), cut.lanes());
    for (int64 lane = 0; lane < tile.lanes(); ++lane) {
      ASSERT_EQ(tile.head(lane) / s.group(), tile.first_head / s.group()) << "keys of two heads";
      const int64 row = (tile.b * s.heads + tile.head(lane)) * s.queries + tile.row(lane);
      ++times[static_cast<std::size_t>(row)];
    }
  }
  ASSERT_EQ(times, std::vector<int>(times.size(), 1));
}

// All that tiles of queries follow from. Keys and workers give many cuts that have the same ones.
std::array<int64, 10> tiles_of(const Problem& p, const Cut& cut) {
  return {cut.batch,     p.shape.queries, cut.key_heads,  cut.group,     cut.rows,
          cut.row_tiles, cut.heads,       cut.head_tiles, cut.half_rows, cut.longest_first ? 1 : 0};
}

TEST_P(CpuCut, GivesEveryRowToOneTile) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    std::set<std::array<int64, 10>> seen;
    for_each_cut(kernels, [&](const Problem& p, const Cut& cut) {
      if (seen.insert(tiles_of(p, cut)).second) expect_rows_once(p, cut);
    });
    EXPECT_GT(seen.size(), 100U);
  });
}

TEST_P(CpuCut, TakesShorterTilesLast) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    int64 cuts = 0;
    for_each_cut(kernels, [&](const Problem& p, const Cut& cut) {
      if (cut.halves() == 0) return;
      ++cuts;
      ASSERT_FALSE(cut.longest_first);
      const int64 whole = cut.tiles() / cut.row_tiles * (cut.row_tiles - cut.halves());
      for (int64 n = 0; n < cut.tiles(); ++n) {
        const int64 rows = cut.tile(p, n).rows.size();
        if (n < whole) {
          ASSERT_EQ(rows, cut.rows);
        } else {
          ASSERT_GT(rows, 0);
          ASSERT_LE(rows, (cut.rows + kernels.lanes) / 2 + kernels.lanes);
        }
      }
    });
    EXPECT_GT(cuts, 0);
  });
}

TEST_P(CpuCut, SplitsKeysAlikeForAnyNumberOfWorkers) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    for_each_cut(kernels, [&](const Problem& p, const Cut& cut) {
      ASSERT_EQ(cut.split_keys, cut_of(p, kernels, 1).split_keys);
      ASSERT_EQ(cut.tasks() * cut.together, cut.tiles() * cut.splits);
      int64 end = 0;
      for (int64 n = 0; n < cut.splits; ++n) {
        const Range keys = cut.keys_of_split(n);
        ASSERT_EQ(keys.begin, end);
        ASSERT_EQ(keys.begin % kernels.keys, 0);
        ASSERT_LT(keys.begin, p.shape.keys) << "a split without keys";
        end = keys.end;
      }
      ASSERT_GE(end, p.shape.keys);
    });
  });
}

TEST_P(CpuCut, TakesNeighbouringKeyHeadsTogether) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    int64 most = 1;
    for_each_cut(kernels, [&](const Problem& p, const Cut& cut) {
      ASSERT_TRUE(cut.together == 1 || is_few(cut, kernels));
      most = core::larger(most, cut.together);
      for (int64 n = 0; n < cut.tiles(); ++n) {
        const QueryTile tile = cut.tile(p, n), first = cut.tile(p, n / cut.together * cut.together);
        ASSERT_EQ(tile.b, first.b);
        ASSERT_EQ(tile.first_head, first.first_head + n % cut.together * p.shape.group());
        ASSERT_EQ(tile.rows, first.rows);
        ASSERT_EQ(tile.heads, first.heads);
      }
    });
    EXPECT_EQ(most, kernels.score_few ? kMostTogether : 1);
  });
}

TEST_P(CpuCut, HasNoTilesWhereThereIsNothing) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    for (const Shape& shape : {Shape{0, 7, 9, 4, 2, 8, 8}, Shape{1, 7, 9, 0, 0, 8, 8},
                               Shape{1, 0, 9, 4, 2, 8, 8}, Shape{0, 0, 0, 0, 0, 8, 8}}) {
      Problem p;
      p.shape = shape;
      EXPECT_EQ(cut_of(p, kernels, 2).tasks(), 0);
    }
  });
}

TEST_P(CpuCut, CopiesRowsThatNoVectorReads) {
  const auto copied = []<class T>(const Kernels<T>& kernels, DType dtype, int64 dim, bool scaled) {
    View rows, scaling;
    rows.dtype = dtype;
    if (scaled) scaling.dtype = DType::kFloat32;
    return is_copied(rows, scaling, dim, kernels);
  };
  const Kernels<float>& narrow = isa().of_numbers.in_float;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    EXPECT_FALSE(copied(narrow, dtype, 5 * narrow.lanes, false));
    EXPECT_TRUE(copied(narrow, dtype, 5 * narrow.lanes + 1, false));
    EXPECT_TRUE(copied(narrow, dtype, 5 * narrow.lanes, true));
  }
  EXPECT_TRUE(copied(narrow, DType::kFloat8E4M3, 5 * narrow.lanes, false));
  EXPECT_TRUE(copied(narrow, DType::kFloat8E5M2, 5 * narrow.lanes, false));
  const Kernels<double>& wide = isa().of_numbers.in_double;
  EXPECT_FALSE(copied(wide, DType::kFloat64, 5 * wide.lanes, false));
  EXPECT_TRUE(copied(wide, DType::kFloat64, 5 * wide.lanes - 1, false));
}

TEST_P(CpuCut, LeavesHeadsThatLieApartAlone) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    for (Problem p : problems()) {
      p.key.stride = {p.shape.key_heads * p.shape.keys * 8, p.shape.keys * 8, 8, 1};
      if (p.shape.keys > 1 && p.shape.key_heads > 1) {
        ASSERT_EQ(cut_of(p, kernels, 2).together, 1);
      }
    }
  });
}

}  // namespace
}  // namespace tilewise::cpu
