// The running rows of a warp: four lanes have a part of each row.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/score/hide.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"

namespace tilewise::cuda::score {

// A row's reference rises only when a score exceeds it by so many powers of two: until then weights
// grow up to 2^8, which every type here holds, and nothing is rescaled.
inline constexpr float kSlack = 8;

// Where the rows that a lane has a part of lie in shared memory.
template <int32 threads>
struct RowsOfLane {
  static constexpr int32 kApart = threads;  // of sums
  float *reference, *sum;

  TW_DEVICE core::Row<float> at(int32 r) const { return {reference[r * 8], sum[r * kApart]}; }
  TW_DEVICE void set(int32 r, core::Row<float> row) const {
    reference[r * 8] = row.max;
    sum[r * kApart] = row.sum;
  }
};

// The same in registers from the first tile of keys to the last, for kernels that have some to
// spare.
template <int32 rows>
struct HeldRows {
  float reference[rows], sum[rows];

  TW_DEVICE void clear() {
    TW_UNROLL
    for (int32 r = 0; r < rows; ++r) set(r, {});
  }
  TW_DEVICE core::Row<float> at(int32 r) const { return {reference[r], sum[r]}; }
  TW_DEVICE void set(int32 r, core::Row<float> row) {
    reference[r] = row.max;
    sum[r] = row.sum;
  }
  TW_DEVICE void add(int32 r, float weights) { sum[r] += weights; }
};

// And for the others: references are read once a tile, sums stay where they lie.
template <int32 rows, int32 threads>
struct ReadRows {
  RowsOfLane<threads> lying;
  float reference[rows];

  TW_DEVICE explicit ReadRows(RowsOfLane<threads> from) : lying(from) {
    TW_UNROLL
    for (int32 r = 0; r < rows; ++r) reference[r] = from.reference[r * 8];
  }
  TW_DEVICE core::Row<float> at(int32 r) const { return {reference[r], lying.sum[r * threads]}; }
  TW_DEVICE void set(int32 r, core::Row<float> row) {
    reference[r] = row.max;
    lying.set(r, row);
  }
  TW_DEVICE void add(int32 r, float weights) { lying.sum[r * threads] += weights; }
};

// A block's running rows. They lie in shared memory, where each is touched once a tile of keys:
// registers are scarce, and what they hold is touched all the time.
template <int32 rows, int32 threads>
struct RunningRows {
  static constexpr int32 kRowsOfWarp = rows * kWarp / threads;
  // The maximum that weights are relative to. It changes seldom.
  float reference[rows];
  // Each lane's own share of the sums of the rows that it has a part of.
  float sum[kRowsOfWarp / 8][threads];

  // By all threads of the block, each warp its own rows.
  TW_DEVICE void clear() {
    static_assert(kRowsOfWarp <= kWarp, "no lane has two references to set");
    if (lane_index() < kRowsOfWarp)
      reference[warp_index() * kRowsOfWarp + lane_index()] = -core::infinity<float>();
    for (float(&sums)[threads] : sum) sums[thread_index()] = 0;
    warp_barrier();
  }

  TW_DEVICE RowsOfLane<threads> of_lane() {
    const int32 thread = thread_index_anew();
    return {reference + (thread / kWarp * kRowsOfWarp + thread % kWarp / 4), sum[0] + thread};
  }
};

// The largest number that the lane has in each of its rows.
template <class Scores>
struct Largest {
  Largest() = default;
  TW_DEVICE explicit Largest(Scores& scores) {
    for_each_row_of_lane<Scores>([&](int32 r) {
      of_lane[r] = -core::infinity<float>();
      scores.each_of_row(
          r, [&](float score, int32) { of_lane[r] = larger_number(of_lane[r], score); });
    });
  }

  // Of row r, by all four lanes that have a part of it.
  TW_DEVICE float of_row(int32 r) const {
    float largest = of_lane[r];
    largest = larger_number(largest, shuffle(largest, 1));
    return larger_number(largest, shuffle(largest, 2));
  }

  float of_lane[Scores::kRowsOfLane];
};

// A reference is a rounded product. Up to here what the rounding took is far below 1, so that a
// product which is not rounded may be held against it.
inline constexpr float kUsualReference = 0x1p+16f;

TW_DEVICE bool is_huge(float shift) {
  return core::absolute(shift) > kUsualReference;
}

// Whether the lane has something to see to: a score far above its row's reference, or a reference
// that is huge (or that no score has set yet); or where scores are not held yet, a row of scores
// that are all down beyond the measure or NaN. One that is beyond it upwards is far above. Of a row
// whose keys are all hidden nothing is to be seen to.
template <class Scores, class Rows>
TW_DEVICE bool is_unusual(const Rows& rows, Measure measure, Known known,
                          const Largest<Scores>& largest) {
  const float least = known == Known::kHeld ? -core::infinity<float>() : -measure.limit;
  bool unusual = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    const float score = largest.of_lane[r], reference = rows.reference[r];
    // Without branches.
    unusual |= score * measure.factor > reference + kSlack;
    unusual |= is_huge(reference);
    const bool is_hidden = known == Known::kFinite && score == -core::infinity<float>();
    unusual |= !(score >= least) && !is_hidden;
  });
  return unusual;
}

// Whether products may lie beyond the measure where that counts: a row has only such products, or
// its reference is or becomes huge. Far from there what is -inf weighs nothing, held or not.
template <class Scores, class Rows>
TW_DEVICE bool is_far(const Rows& rows, Measure measure, const Largest<Scores>& largest) {
  bool far = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    far |= !(core::absolute(largest.of_lane[r] * measure.factor) <= kUsualReference);
    far |= is_huge(core::shift(rows.reference[r]));
  });
  return far;
}

// Moves the references of rows that passed their own limit, and what was accumulated with them.
template <class Scores, class Output, class Rows>
TW_DEVICE void raise_rows(Rows& rows, Measure measure, const Largest<Scores>& largest,
                          Output& output) {
  float scores[Scores::kRowsOfLane];
  // Of all rows first: the lanes' answers are waited for once.
  for_each_row_of_lane<Scores>(
      [&](int32 r) { scores[r] = rounded_product(largest.of_row(r), measure.factor); });
  for_each_row_of_lane<Scores>([&](int32 r) {
    core::Row<float> row = rows.at(r);
    if (!(scores[r] > row.max + kSlack)) return;
    const float factor = core::raise(row, scores[r]);
    // All lanes that have a part of the row write the same reference.
    rows.set(r, row);
    output.each_of_row(r, [&](float& sum, int32) { sum *= factor; });
  });
}

// Scores to weights, where they lie, and these into the rows' sums. Scores times `factor` less
// their row's shift are distances to its reference.
template <class Scores, class Rows>
TW_DEVICE void weigh_by(Rows& rows, float factor, const float (&shifts)[Scores::kRowsOfLane],
                        Scores& scores) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    float even = 0, odd = 0;
    scores.each_of_row(r, [&](float& score, int32 column) {
      score = exp2_approximate(multiply_add(score, factor, -shifts[r]));
      if (column % 2 == 0)
        even += score;
      else
        odd += score;
    });
    rows.add(r, even + odd);
  });
}

// Where a reference is huge: scores become distances. Each row by its own reference: no bit of a
// row depends on another's.
template <class Scores>
TW_DEVICE void set_distances(float factor, const float (&shifts)[Scores::kRowsOfLane],
                             Scores& scores) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    const float shift = shifts[r];
    scores.each_of_row(r, [&](float& score, int32) {
      score = is_huge(shift) ? rounded_product(score, factor) - shift
                             : multiply_add(score, factor, -shift);
    });
  });
}

// What is known of scores: nothing above `most` is among the lane's own, which costs less to know
// than each row's largest.
struct Bounded {
  Known known;
  float most = core::infinity<float>();
};

// Whether a row may have a score far above its reference, or a reference that is huge.
template <class Scores, class Rows>
TW_DEVICE bool may_be_unusual(const Rows& rows, float most) {
  bool unusual = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    unusual |= !(most <= rows.reference[r] + kSlack);
    unusual |= is_huge(rows.reference[r]);
  });
  return unusual;
}

// Scores to weights, after the rows' references have risen where scores ask for it.
template <bool is_bounded, class Scores, class Output, class Rows>
TW_DEVICE void weigh(Rows& rows, Measure measure, Bounded bounded, Scores& scores, Output& output) {
  const Known known = bounded.known;
  bool unusual = false;
  Largest<Scores> largest;
  if (!is_bounded || warp_any(may_be_unusual<Scores>(rows, bounded.most))) {
    largest = Largest<Scores>(scores);
    unusual = warp_any(is_unusual(rows, measure, known, largest));
  }
  if (unusual) {
    if (known != Known::kHeld && warp_any(is_far(rows, measure, largest))) {
      if (known == Known::kFinite)
        hold_seen(scores, measure.limit);
      else
        hold(scores, measure.limit);
      largest = Largest<Scores>(scores);
    }
    raise_rows(rows, measure, largest, output);
  }
  float factor = measure.factor, shifts[Scores::kRowsOfLane];
  bool huge = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    shifts[r] = core::shift(rows.reference[r]);
    huge |= is_huge(shifts[r]);
  });
  if (unusual && warp_any(huge)) {
    set_distances(factor, shifts, scores);
    factor = 1;
    for (float& shift : shifts) shift = 0;
    // From Blackwell on, registers are enough only where this case has a text of its own. Before,
    // one text lets the compiler put exponentials beside the product that follows.
    if constexpr (kArchitecture >= 100) {
      const float none[Scores::kRowsOfLane] = {};
      return weigh_by(rows, 1, none, scores);
    }
  }
  weigh_by(rows, factor, shifts, scores);
}

// Weights as left fragments of a product: a piece of 16 x 16 has columns 8 n of two pieces of
// scores, pair 2 (n % 2) + r % 2 of row r.
template <DType type, class Scores>
struct Weights {
  TW_DEVICE void set(const Scores& scores) {
    TW_UNROLL
    for (int32 m = 0; m < Scores::kDown; ++m) {
      TW_UNROLL
      for (int32 n = 0; n < Scores::kAcross; ++n) {
        const float(&four)[4] = scores.at[m][n];
        const int32 first = n % 2 * 2;
        at[m][n / 2].pair[first] = pair_of<type>(four[0], four[1]);
        at[m][n / 2].pair[first + 1] = pair_of<type>(four[2], four[3]);
      }
    }
  }

  Fragment at[Scores::kDown][Scores::kAcross / 2];
};

// The row's lse. A score that was held stands for one of half the largest number, whatever the
// scale makes of it.
TW_DEVICE float lse_of(const core::Row<float>& row, Measure measure) {
  const float held = rounded_product(measure.limit, measure.factor);
  constexpr float kHalf = core::largest<float>() / 2;
  if (row.sum > 0 && row.max >= held) return kHalf;
  if (row.sum > 0 && row.max <= -held) return -kHalf;
  return core::lse(row);
}

// Row r with the sum of all lanes that have a part of it.
template <class Rows>
TW_DEVICE core::Row<float> whole_row(Rows rows, int32 r) {
  core::Row<float> row = rows.at(r);
  row.sum += shuffle(row.sum, 1);
  row.sum += shuffle(row.sum, 2);
  return row;
}

}  // namespace tilewise::cuda::score
