// Online softmax of a warp's rows. Each row is spread over four lanes.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/score/hide.h"
#include "backends/cuda/kernels/score/scoring.h"
#include "backends/cuda/kernels/score/sums.h"

namespace tilewise::cuda::score {

// A row's reference (its running maximum) is raised only when a score exceeds it by more than this
// many powers of two. Until then weights grow up to 2^8, which every type here can hold, and
// nothing needs to be rescaled.
inline constexpr float kSlack = 8;

// A lane's view of its rows in shared memory.
template <int32 threads>
struct RowsOfLane {
  static constexpr int32 kSumStride = threads;  // floats between the sums of two rows
  float *reference, *sum;

  TW_DEVICE core::Row<float> at(int32 r) const { return {reference[r * 8], sum[r * kSumStride]}; }
  TW_DEVICE void set(int32 r, core::Row<float> row) const {
    reference[r * 8] = row.max;
    sum[r * kSumStride] = row.sum;
  }
};

// A lane's rows in registers for the whole walk over the keys, in kernels that have enough of them.
template <int32 rows>
struct RegisterRows {
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

// A lane's rows in kernels with too few registers: references are cached in registers for one tile,
// sums stay in shared memory.
template <int32 rows, int32 threads>
struct CachedRows {
  RowsOfLane<threads> shared;
  float reference[rows];

  TW_DEVICE explicit CachedRows(RowsOfLane<threads> from) : shared(from) {
    TW_UNROLL
    for (int32 r = 0; r < rows; ++r) reference[r] = from.reference[r * 8];
  }
  TW_DEVICE core::Row<float> at(int32 r) const { return {reference[r], shared.sum[r * threads]}; }
  TW_DEVICE void set(int32 r, core::Row<float> row) {
    reference[r] = row.max;
    shared.set(r, row);
  }
  TW_DEVICE void add(int32 r, float weights) { shared.sum[r * threads] += weights; }
};

// A block's running rows in shared memory, for kernels with too few registers. A tile of keys needs
// them only once, so registers are better spent on other values.
template <int32 rows, int32 threads>
struct RunningRows {
  static constexpr int32 kRowsOfWarp = rows * kWarp / threads;
  // The running maximum that weights are relative to. It changes rarely.
  float reference[rows];
  // Each lane's partial sums of its rows.
  float sum[kRowsOfWarp / 8][threads];

  // Called by all threads of the block; each warp clears its own rows.
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

// The largest score that the lane has in each of its rows.
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

  // The maximum of row r over its four lanes.
  TW_DEVICE float of_row(int32 r) const {
    float largest = of_lane[r];
    largest = larger_number(largest, shuffle(largest, 1));
    return larger_number(largest, shuffle(largest, 2));
  }

  float of_lane[Scores::kRowsOfLane];
};

// A reference is a rounded product. Up to this size its rounding error is far below 1, so an
// unrounded product may be compared with it.
inline constexpr float kUsualReference = 0x1p+16f;

TW_DEVICE bool is_huge(float shift) {
  return core::absolute(shift) > kUsualReference;
}

// Whether one of the lane's rows needs the slow path: if a score exceeds the row's reference by
// more than kSlack; if the reference is huge, or still -inf; or, before scores are clamped, if the
// lane's scores in the row are all below -limit or NaN, and not because they are hidden. (A score
// above the limit exceeds every reference that is not huge.)
template <class Scores, class Rows>
TW_DEVICE bool needs_slow_path(const Rows& rows, Measure measure, Known known,
                               const Largest<Scores>& largest) {
  const float least = known == Known::kHeld ? -core::infinity<float>() : -measure.limit;
  bool slow = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    const float score = largest.of_lane[r], reference = rows.reference[r];
    // Bitwise operators, so that the compiler makes no branches.
    slow |= score * measure.factor > reference + kSlack;
    slow |= is_huge(reference);
    const bool is_hidden = known == Known::kFinite && score == -core::infinity<float>();
    slow |= !(score >= least) && !is_hidden;
  });
  return slow;
}

// Whether clamping can change a weight: if a row's reference is huge, or the lane's largest score
// in the row is huge or -inf. In other rows a score of -inf has weight 0, clamped or not.
template <class Scores, class Rows>
TW_DEVICE bool needs_clamping(const Rows& rows, Measure measure, const Largest<Scores>& largest) {
  bool needed = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    needed |= !(core::absolute(largest.of_lane[r] * measure.factor) <= kUsualReference);
    needed |= is_huge(core::shift(rows.reference[r]));
  });
  return needed;
}

// Raises the references of rows that a score exceeds by more than kSlack, and rescales their sums
// and output.
template <class Scores, class Output, class Rows>
TW_DEVICE void raise_rows(Rows& rows, Measure measure, const Largest<Scores>& largest,
                          Output& output) {
  float scores[Scores::kRowsOfLane];
  // First the maxima of all rows, so that their shuffles overlap.
  for_each_row_of_lane<Scores>(
      [&](int32 r) { scores[r] = rounded_product(largest.of_row(r), measure.factor); });
  for_each_row_of_lane<Scores>([&](int32 r) {
    core::Row<float> row = rows.at(r);
    if (!(scores[r] > row.max + kSlack)) return;
    const float factor = core::raise(row, scores[r]);
    // All lanes of a row write the same reference.
    rows.set(r, row);
    output.each_of_row(r, [&](float& sum, int32) { sum *= factor; });
  });
}

// Turns scores into weights in place, exp2(score * factor - shift), and adds them to the rows'
// sums.
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

// Replaces scores by score - reference. Called if some row's reference is huge. In such a row the
// product is rounded first, as the reference was; in other rows it is not, so that the bits of a
// row do not depend on other rows.
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

// What is known about scores. `most` is an upper bound of the lane's scores, or infinity if none
// was computed.
struct Bounded {
  Known known;
  float most = core::infinity<float>();
};

// Whether, as far as the bound says, a row may need the slow path.
template <class Scores, class Rows>
TW_DEVICE bool may_need_slow_path(const Rows& rows, float most) {
  bool slow = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    slow |= !(most <= rows.reference[r] + kSlack);
    slow |= is_huge(rows.reference[r]);
  });
  return slow;
}

// Turns scores into weights, and raises the rows' references first where needed.
template <bool is_bounded, class Scores, class Output, class Rows>
TW_DEVICE void weigh(Rows& rows, Measure measure, Bounded bounded, Scores& scores, Output& output) {
  const Known known = bounded.known;
  bool slow = false;
  Largest<Scores> largest;
  if (!is_bounded || warp_any(may_need_slow_path<Scores>(rows, bounded.most))) {
    largest = Largest<Scores>(scores);
    slow = warp_any(needs_slow_path(rows, measure, known, largest));
  }
  if (slow) {
    if (known != Known::kHeld && warp_any(needs_clamping(rows, measure, largest))) {
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
  if (slow && warp_any(huge)) {
    set_distances(factor, shifts, scores);
    factor = 1;
    for (float& shift : shifts) shift = 0;
    // From Blackwell on, this case needs its own copy of the code to fit into the registers. On
    // older GPUs one copy lets the compiler interleave the exponentials with the next product.
    if (architecture() >= 100) {
      const float none[Scores::kRowsOfLane] = {};
      return weigh_by(rows, 1, none, scores);
    }
  }
  weigh_by(rows, factor, shifts, scores);
}

// Weights as left fragments of the product with the values: fragment n / 2 takes its 16 columns
// from score pieces n and n + 1, for even n.
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

// The row's lse. If the row's maximum was clamped, the result is half the largest float with the
// maximum's sign, whatever the scale and the sum.
TW_DEVICE float lse_of(const core::Row<float>& row, Measure measure) {
  const float held = rounded_product(measure.limit, measure.factor);
  constexpr float kHalf = core::largest<float>() / 2;
  if (row.sum > 0 && row.max >= held) return kHalf;
  if (row.sum > 0 && row.max <= -held) return -kHalf;
  return core::lse(row);
}

// Row r with its sum added up over its four lanes.
template <class Rows>
TW_DEVICE core::Row<float> whole_row(Rows rows, int32 r) {
  core::Row<float> row = rows.at(r);
  row.sum += shuffle(row.sum, 1);
  row.sum += shuffle(row.sum, 2);
  return row;
}

}  // namespace tilewise::cuda::score
