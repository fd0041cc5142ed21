// How a forward pass is cut: whatever the shape and the number of workers, every row of every head
// belongs to one tile, every key to one split, and what tasks take together lies side by side.
#include "backends/cpu/forward/task_grid.h"

#include <array>
#include <set>

#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuTaskGrid : public EveryIsa {};
TW_ON_EVERY_ISA(CpuTaskGrid);

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
void for_each_grid(const Kernels<T>& kernels, const Body& body) {
  for (const Problem& p : problems()) {
    for (const int workers : kWorkers) {
      const Shape& s = p.shape;
      SCOPED_TRACE(testing::Message()
                   << s.batch << " x " << s.queries << " of " << s.keys << ", " << s.heads << " of "
                   << s.key_heads << " heads, " << workers << " workers, right " << p.mask.right);
      body(p, task_grid_of(p, kernels, workers));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

void expect_rows_once(const Problem& p, const TaskGrid& grid) {
  const Shape& s = p.shape;
  std::vector<int> times(static_cast<std::size_t>(s.batch * s.heads * s.queries), 0);
  for (int64 n = 0; n < grid.tiles(); ++n) {
    const QueryTile tile = grid.tile(p, n);
    ASSERT_LE(tile.lanes(), grid.lanes());
    for (int64 lane = 0; lane < tile.lanes(); ++lane) {
      ASSERT_EQ(tile.head(lane) / s.group(), tile.first_head / s.group()) << "keys of two heads";
      const int64 row = (tile.b * s.heads + tile.head(lane)) * s.queries + tile.row(lane);
      ++times[static_cast<std::size_t>(row)];
    }
  }
  ASSERT_EQ(times, std::vector<int>(times.size(), 1));
}

// All that the tiles of queries depend on. Many grids differ only in keys and workers, and so have
// the same tiles.
std::array<int64, 10> tiles_of(const Problem& p, const TaskGrid& grid) {
  return {
      grid.batch,     p.shape.queries, grid.key_heads,  grid.group,     grid.rows,
      grid.row_tiles, grid.heads,      grid.head_tiles, grid.half_rows, grid.longest_first ? 1 : 0};
}

TEST_P(CpuTaskGrid, GivesEveryRowToOneTile) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    std::set<std::array<int64, 10>> seen;
    for_each_grid(kernels, [&](const Problem& p, const TaskGrid& grid) {
      if (seen.insert(tiles_of(p, grid)).second) expect_rows_once(p, grid);
    });
    EXPECT_GT(seen.size(), 100U);
  });
}

TEST_P(CpuTaskGrid, TakesShorterTilesLast) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    int64 grids = 0;
    for_each_grid(kernels, [&](const Problem& p, const TaskGrid& grid) {
      if (grid.halves() == 0) return;
      ++grids;
      ASSERT_FALSE(grid.longest_first);
      const int64 whole = grid.tiles() / grid.row_tiles * (grid.row_tiles - grid.halves());
      for (int64 n = 0; n < grid.tiles(); ++n) {
        const int64 rows = grid.tile(p, n).rows.size();
        if (n < whole) {
          ASSERT_EQ(rows, grid.rows);
        } else {
          ASSERT_GT(rows, 0);
          ASSERT_LE(rows, (grid.rows + kernels.lanes) / 2 + kernels.lanes);
        }
      }
    });
    EXPECT_GT(grids, 0);
  });
}

TEST_P(CpuTaskGrid, SplitsKeysAlikeForAnyNumberOfWorkers) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    for_each_grid(kernels, [&](const Problem& p, const TaskGrid& grid) {
      ASSERT_EQ(grid.split.keys, task_grid_of(p, kernels, 1).split.keys);
      ASSERT_EQ(grid.tasks() * grid.together, grid.tiles() * grid.split.count);
      int64 end = 0;
      for (int64 n = 0; n < grid.split.count; ++n) {
        const Range keys = grid.keys_of_split(n);
        ASSERT_EQ(keys.begin, end);
        ASSERT_EQ(keys.begin % kernels.keys, 0);
        ASSERT_LT(keys.begin, p.shape.keys) << "a split without keys";
        end = keys.end;
      }
      ASSERT_GE(end, p.shape.keys);
    });
  });
}

TEST_P(CpuTaskGrid, TakesNeighbouringKeyHeadsTogether) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    int64 most = 1;
    for_each_grid(kernels, [&](const Problem& p, const TaskGrid& grid) {
      ASSERT_TRUE(grid.together == 1 || decodes(grid, kernels));
      most = core::larger(most, grid.together);
      for (int64 n = 0; n < grid.tiles(); ++n) {
        const QueryTile tile = grid.tile(p, n),
                        first = grid.tile(p, n / grid.together * grid.together);
        ASSERT_EQ(tile.b, first.b);
        ASSERT_EQ(tile.first_head, first.first_head + n % grid.together * p.shape.group());
        ASSERT_EQ(tile.rows, first.rows);
        ASSERT_EQ(tile.heads, first.heads);
      }
    });
    EXPECT_EQ(most, kernels.decode.score ? kDecode.key_heads : 1);
  });
}

TEST_P(CpuTaskGrid, HasNoTilesWhereThereIsNothing) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    for (const Shape& shape : {Shape{0, 7, 9, 4, 2, 8, 8}, Shape{1, 7, 9, 0, 0, 8, 8},
                               Shape{1, 0, 9, 4, 2, 8, 8}, Shape{0, 0, 0, 0, 0, 8, 8}}) {
      Problem p;
      p.shape = shape;
      EXPECT_EQ(task_grid_of(p, kernels, 2).tasks(), 0);
    }
  });
}

TEST_P(CpuTaskGrid, CopiesRowsThatNoVectorReads) {
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

TEST_P(CpuTaskGrid, LeavesHeadsThatLieApartAlone) {
  in_both([]<class T>(const Kernels<T>& kernels) {
    for (Problem p : problems()) {
      p.key.stride = {p.shape.key_heads * p.shape.keys * 8, p.shape.keys * 8, 8, 1};
      if (p.shape.keys > 1 && p.shape.key_heads > 1) {
        ASSERT_EQ(task_grid_of(p, kernels, 2).together, 1);
      }
    }
  });
}

}  // namespace
}  // namespace tilewise::cpu
