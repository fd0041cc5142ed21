// The three products of backward for one tile, from loading rows to adding to what was there,
// against loops.
#include <limits>
#include <vector>

#include "elements.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuGradient : public EveryIsa {};
TW_ON_EVERY_ISA(CpuGradient);

constexpr int64 kMostKeys = 64;

// Small whole numbers, whose products are exact in any type and order.
int weight(int64 key, int64 lane) {
  return static_cast<int>((key * 5 + lane * 3) % 7) - 3;
}

int gradient(int64 key, int64 lane) {
  return static_cast<int>((key * 4 + lane * 9) % 11) - 5;
}

int row_number(int64 row, int64 column) {
  return static_cast<int>((row * 7 + column * 5) % 9) - 4;
}

int sum_before(int64 row, int64 column) {
  return static_cast<int>((row + column) % 3);
}

// What a product adds up: of `count` rows with `depth` elements of the left side each.
struct Sums {
  int64 rows, depth, dim;
  int (*left)(int64 row, int64 element);
};

int by_key(int64 key, int64 lane) {
  return gradient(key, lane);
}

int by_query(int64 lane, int64 key) {
  return gradient(key, lane);
}

// Lanes lie in one segment or in two, of which the last is not full. Behind what is there lies NaN.
template <class T>
class Tile {
 public:
  Tile(const Kernels<T>& kernels, DType dtype, int64 keys, int64 lanes, int64 dim)
      : k_(kernels),
        dtype_(dtype),
        keys_(keys),
        lanes_(lanes),
        segments_(core::ceil_div(lanes, k_.pitch)),
        dim_(dim),
        next_((kMostKeys + kKeysBeyond) * k_.pitch),
        weights_(index(segments_ * next_), std::numeric_limits<T>::quiet_NaN()),
        gradients_(weights_),
        packed_(weights_) {
    for (int64 s = 0; s < segments_; ++s) {
      T *weights = weights_.data() + s * next_, *gradients = gradients_.data() + s * next_;
      for (int64 key = 0; key < keys; ++key) {
        for (int64 n = 0; n < k_.pitch; ++n) {
          const int64 lane = s * k_.pitch + n;
          weights[key * k_.pitch + n] = T(lane < lanes ? weight(key, lane) : 0);
          gradients[key * k_.pitch + n] = T(lane < lanes ? gradient(key, lane) : 0);
        }
      }
      if (k_.pairs()) k_.backward.pack({keys, weights, gradients, packed_.data() + s * next_});
    }
  }

  void expect_sums() const {
    const int64 depth = k_.pitch / k_.packed(), all = segments_ * k_.pitch;
    const auto left = [&](const std::vector<T>& tile) {
      return LeftSide<T>{tile.data(), k_.pitch, 1, depth, segments_, next_};
    };
    expect({keys_, lanes_, dim_, weight}, left(weights_), {lanes_, all});
    expect({keys_, lanes_, dim_, by_key}, left(gradients_), {lanes_, all});
    // Behind the tile's last key lie more keys.
    const std::vector<T>& packed = k_.pairs() ? packed_ : gradients_;
    const int64 beyond = keys_ + kKeysBeyond;
    expect({core::smaller(lanes_, k_.pitch), keys_, dim_, by_query},
           {packed.data(), 1, k_.pitch, core::ceil_div(keys_, k_.packed()), 1, 0},
           {beyond, beyond});
  }

 private:
  // Rows of a right side: those that are there, and those that it is filled up to with zeros.
  struct RightRows {
    int64 count, padded;
  };

  void expect(const Sums& sums, const LeftSide<T>& left, RightRows right_rows) const {
    const int64 columns = core::round_up(dim_, k_.lanes), pitch = columns + k_.lanes;
    const ElementRows rows(right_rows.count, dim_, dtype_, row_number);
    std::vector<T> right(index(right_rows.padded * pitch)), to(index(sums.rows * pitch));
    load_right(k_, rows.rows(), T(1), {right.data(), pitch}, right_rows.padded);
    for (int64 r = 0; r < sums.rows; ++r)
      for (int64 c = 0; c < pitch; ++c) to[index(r * pitch + c)] = T(sum_before(r, c));
    k_.backward.add_product({left, {right.data(), pitch}, {to.data(), pitch}, sums.rows, columns});
    for (int64 r = 0; r < sums.rows; ++r) {
      for (int64 c = 0; c < pitch; ++c) {
        int want = sum_before(r, c);
        for (int64 i = 0; i < sums.depth && c < dim_; ++i)
          want += sums.left(r, i) * row_number(i, c);
        ASSERT_EQ(to[index(r * pitch + c)], T(want)) << "row " << r << ", column " << c;
      }
    }
  }

  const Kernels<T>& k_;
  DType dtype_;
  int64 keys_, lanes_, segments_, dim_, next_;
  std::vector<T> weights_, gradients_, packed_;
};

template <class T>
void expect_every_tile(const Kernels<T>& kernels, DType dtype) {
  for (const int64 keys : {1, 2, 7, 16, 31, 33, 56, 64})
    for (const int64 lanes : {int64{1}, kernels.lanes + 1, kernels.pitch, 2 * kernels.pitch - 1})
      for (const int64 dim : {1, 16, 31, 64, 129}) {
        SCOPED_TRACE(testing::Message() << keys << " keys, " << lanes << " lanes, dim " << dim);
        Tile<T>(kernels, dtype, keys, lanes, dim).expect_sums();
      }
}

TEST_P(CpuGradient, AddsNumbers) {
  expect_every_tile(isa().of_numbers.in_float, DType::kFloat16);
  expect_every_tile(isa().of_numbers.in_double, DType::kFloat64);
}

TEST_P(CpuGradient, AddsPairs) {
  if (isa().of_bfloat16.lanes == 0) GTEST_SKIP() << "no products of pairs";
  expect_every_tile(isa().of_bfloat16, DType::kBFloat16);
}

}  // namespace
}  // namespace tilewise::cpu
