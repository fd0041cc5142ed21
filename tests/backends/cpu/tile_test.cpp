// A tile of attention through the functions of Kernels alone, from rows in memory to sums of
// values. So the test holds for any layout that an instruction set uses in scratch memory, also for
// pairs of bfloat16.
#include <algorithm>
#include <cmath>
#include <limits>

#include "elements.h"
#include "every_isa.h"

namespace tilewise::cpu {
namespace {

class CpuTile : public EveryIsa {};
TW_ON_EVERY_ISA(CpuTile);

// Scores are small whole numbers, weights powers of two that bfloat16 holds, and sums exact.
int key_number(int64 row, int64 column) {
  return column % 8 == row % 8 ? static_cast<int>((row + column) % 3) - 1 : 0;
}
int query_number(int64 row, int64 column) {
  return static_cast<int>((row * 5 + column) % 3) - 1;
}
int value_number(int64 row, int64 column) {
  return static_cast<int>((row * 7 + column * 3) % 9) - 4;
}

// Keys `first` to `keys - 1` are in the tile. In steps each vector ends later than the one before
// it, the first at once or after a while.
enum class Steps { kNone, kFromTheFirst, kLater };
struct Form {
  int64 dim, value_dim, first, keys, vectors;
  Steps steps = Steps::kNone;
};

class Walk {
 public:
  Walk(const Kernels<float>& kernels, const Form& form)
      : k_(kernels),
        form_(form),
        lanes_(form.vectors * kernels.lanes),
        pitch_(core::round_up(form.dim, kernels.lanes)),
        value_pitch_(core::round_up(form.value_dim, std::max(kernels.lanes, kPanel))),
        key_(index((k_.keys + kKeysBeyond) * pitch_)),
        value_(index((k_.keys + kKeysBeyond) * value_pitch_)),
        row_(index(k_.pitch * std::max(pitch_, value_pitch_))),
        query_(index(pitch_ * k_.pitch)),
        tile_(index(k_.keys * k_.pitch), std::numeric_limits<float>::quiet_NaN()),
        output_(index(value_pitch_ * k_.pitch), 1.F),
        largest_(index(k_.pitch)),
        max_(index(k_.pitch), 0.F),
        sum_(index(k_.pitch), 1.F),
        factor_(index(k_.pitch)),
        unit_(index(k_.pitch), 1.F) {
    const int64 keys = form.keys - form.first, later = form.steps == Steps::kLater ? 1 : 0;
    for (int64 j = 0; j < form.vectors; ++j)
      ends_.push_back(
          std::min(keys, core::round_up(keys * (j + later) / (form.vectors + later), kRowStep)));
    ends_.back() = keys;
  }

  void run() {
    load();
    const ScoreTile<float> tile{tile_.data(), form_.keys - form_.first, form_.vectors,
                                form_.steps != Steps::kNone ? ends_.data() : nullptr};
    // A vector that sees nothing has no largest score.
    EXPECT_EQ(k_.forward.score({{key_.data() + form_.first * pitch_, pitch_},
                                query_.data(),
                                form_.dim,
                                tile,
                                largest_.data(),
                                1e30F,
                                {}}),
              tile.keys_of(0) == 0);
    expect_scores();
    k_.forward.raise(
        {tile, largest_.data(), unit_.data(), {max_.data(), sum_.data(), factor_.data()}});
    k_.forward.accumulate({value_.data(), k_.keys + 2, core::round_up(form_.value_dim, kPanel),
                           form_.first, tile, factor_.data(), output_.data()});
    for (int64 lane = 0; lane < lanes_; ++lane) expect_sums(lane);
  }

 private:
  void load() {
    const ElementRows queries(lanes_, form_.dim, DType::kBFloat16, query_number);
    const ElementRows keys(form_.keys, form_.dim, DType::kBFloat16, key_number);
    const ElementRows values(form_.keys, form_.value_dim, DType::kBFloat16, value_number);
    k_.rows.load(queries.rows(), 1.F, {row_.data(), pitch_}, lanes_);
    k_.rows.to_lanes({row_.data(), pitch_}, pitch_, form_.vectors, query_.data());
    k_.rows.load(keys.rows(), 1.F, {key_.data(), pitch_}, form_.keys + kKeysBeyond);
    k_.rows.load_panels(values.rows(), 1.F, value_.data(), k_.keys + 2, row_.data());
  }

  [[nodiscard]] int score(int64 key, int64 lane) const {
    int sum = 0;
    for (int64 c = 0; c < form_.dim; ++c) sum += key_number(key, c) * query_number(lane, c);
    return sum;
  }

  // The end of the keys that a lane sees.
  [[nodiscard]] int64 end(int64 lane) const {
    return form_.steps != Steps::kNone ? form_.first + ends_[index(lane / k_.lanes)] : form_.keys;
  }

  void expect_scores() const {
    for (int64 lane = 0; lane < lanes_; ++lane) {
      float most = -std::numeric_limits<float>::infinity();
      for (int64 key = form_.first; key < end(lane); ++key) {
        const auto want = static_cast<float>(score(key, lane));
        ASSERT_EQ(tile_[index((key - form_.first) * k_.pitch + lane)], want);
        most = std::max(most, want);
      }
      for (int64 key = end(lane); key < form_.keys; ++key)
        ASSERT_TRUE(std::isnan(tile_[index((key - form_.first) * k_.pitch + lane)])) << "written";
      ASSERT_EQ(largest_[index(lane)], most);
    }
  }

  // A row that has seen one score of 0 and values of 1 before.
  void expect_sums(int64 lane) const {
    int max = 0;
    for (int64 key = form_.first; key < end(lane); ++key) max = std::max(max, score(key, lane));
    const double before = std::ldexp(1.0, -max);
    double sum = before;
    std::vector<double> output(index(form_.value_dim), before);
    for (int64 key = form_.first; key < end(lane); ++key) {
      const double weight = std::ldexp(1.0, score(key, lane) - max);
      sum += weight;
      for (int64 c = 0; c < form_.value_dim; ++c) output[index(c)] += weight * value_number(key, c);
    }
    ASSERT_EQ(max_[index(lane)], static_cast<float>(max));
    ASSERT_EQ(sum_[index(lane)], static_cast<float>(sum));
    for (int64 c = 0; c < form_.value_dim; ++c)
      ASSERT_EQ(output_[index(c * k_.pitch + lane)], static_cast<float>(output[index(c)]));
  }

  const Kernels<float>& k_;
  Form form_;
  int64 lanes_, pitch_, value_pitch_;
  std::vector<float> key_, value_, row_, query_, tile_, output_;
  std::vector<float> largest_, max_, sum_, factor_, unit_;
  std::vector<int64> ends_;
};

void expect_tile(const Kernels<float>& kernels, const Form& form) {
  SCOPED_TRACE(testing::Message() << "dims " << form.dim << " and " << form.value_dim << ", keys "
                                  << form.first << " to " << form.keys << ", " << form.vectors
                                  << " vectors" << (form.steps != Steps::kNone ? " in steps" : ""));
  Walk(kernels, form).run();
}

void expect_every_form(const Kernels<float>& kernels) {
  const int64 most = kernels.pitch / kernels.lanes;
  for (const int64 dim : {1, 31, 40, 64})
    for (const int64 value_dim : {1, 7, 33, 64})
      for (const int64 first : {0, 8, 16})
        for (const int64 keys : {int64{17}, int64{31}, int64{48}, kernels.keys})
          for (int64 vectors = 1; vectors <= most; ++vectors)
            for (const Steps steps : {Steps::kNone, Steps::kFromTheFirst, Steps::kLater})
              if (steps == Steps::kNone || kernels.ends)
                expect_tile(kernels, {dim, value_dim, first, keys, vectors, steps});
}

TEST_P(CpuTile, AttendsInFloat) {
  expect_every_form(isa().of_numbers.in_float);
}

TEST_P(CpuTile, AttendsInPairs) {
  if (isa().of_bfloat16.lanes == 0) GTEST_SKIP() << "no products of pairs";
  expect_every_form(isa().of_bfloat16);
}

}  // namespace
}  // namespace tilewise::cpu
