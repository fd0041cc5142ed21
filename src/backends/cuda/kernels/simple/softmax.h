// The running rows of a warp: four lanes have a part of each row.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/simple/traits.h"

namespace tilewise::cuda::simple {

// A row's reference rises only when a score exceeds it by so many powers of two: until then weights
// grow up to 2^8, which every type here holds, and nothing is rescaled.
inline constexpr float kSlack = 8;

// The largest product that the lane has in its row r.
template <class Scores>
TW_DEVICE float largest_of_lane(Scores& scores, int32 r) {
  float largest = -core::infinity<float>();
  scores.each_of_row(r, [&](float score, int32) { largest = larger_number(largest, score); });
  return largest;
}

// The same of all four lanes that have a part of the row.
template <class Scores>
TW_DEVICE float largest_of_row(Scores& scores, int32 r) {
  float largest = largest_of_lane(scores, r);
  if (wounded(core::Wound::kMaxOfOneLane)) return largest;
  largest = larger_number(largest, shuffle(largest, 1));
  return larger_number(largest, shuffle(largest, 2));
}

// Whether the lane has something to see to: a score far above its row's reference, or a row whose
// products are all beyond the measure, up, down or NaN.
template <class Scores>
TW_DEVICE bool is_unusual(RowsOfLane rows, Measure measure, Scores& scores) {
  bool unusual = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    const float largest = largest_of_lane(scores, r);
    unusual = unusual || largest * measure.factor > rows.reference[r * 8] + kSlack;
    unusual = unusual || !(largest <= measure.limit && largest >= -measure.limit);
  });
  return unusual;
}

// Moves the references of rows that passed their own limit, and what was accumulated with them.
template <class Scores, class Output>
TW_DEVICE void raise_rows(RowsOfLane rows, Measure measure, Scores& scores, Output& output) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    core::Row<float> row = rows.at(r);
    // Nobody writes a reference that another lane has not read yet.
    warp_barrier();
    const float score = rounded_product(largest_of_row(scores, r), measure.factor);
    if (!(score > row.max + kSlack)) return;
    const float factor = core::raise(row, score);
    // All lanes that have a part of the row write the same reference.
    rows.set(r, row);
    if (wounded(core::Wound::kOutputNotRescaled)) return;
    output.each_of_row(r, [&](float& sum, int32) { sum *= factor; });
  });
}

// A reference is a rounded product. Up to here what the rounding took is far below 1, so that a
// product which is not rounded may be held against it.
inline constexpr float kUsualReference = 0x1p+16f;

TW_DEVICE bool is_huge(float shift) {
  return core::absolute(shift) > kUsualReference;
}

template <class Scores>
TW_DEVICE bool has_huge_reference(RowsOfLane rows) {
  bool huge = false;
  for_each_row_of_lane<Scores>(
      [&](int32 r) { huge = huge || is_huge(core::shift(rows.reference[r * 8])); });
  return huge;
}

// Scores to weights, rounded to the values' type, and the unrounded ones into the rows' sums.
// exponent(score, shift) is a score's distance to its row's reference.
template <class Traits, class Exponent>
TW_DEVICE void weigh_by(RowsOfLane rows, typename Traits::Scores& scores,
                        typename Traits::Weights& weights, const Exponent& exponent) {
  for_each_row_of_lane<typename Traits::Scores>([&](int32 r) {
    const float shift = core::shift(rows.reference[r * 8]);
    float even = 0, odd = 0, before = 0;
    scores.each_of_row(r, [&](float score, int32 column) {
      const float weight = exp2_approximate(exponent(score, shift));
      if (column % 2 == 0)
        even += weight;
      else
        odd += weight;
      // Columns 8 n and 8 n + 1 are a pair; of a fragment, pair 2 (n % 2) + r % 2.
      const int32 n = column / 8, pair = n % 2 * 2 + r % 2;
      const int32 place = wounded(core::Wound::kWeightsExchanged) ? 3 - pair : pair;
      if (column % 2 == 1)
        weights.at[r / 2][n / 2].pair[place] = pair_of<Traits::kType>(before, weight);
      before = weight;
    });
    rows.sum[r * kThreads] += even + odd;
  });
}

template <class Traits>
TW_DEVICE void weigh(RowsOfLane rows, Measure measure, typename Traits::Scores& scores,
                     typename Traits::Weights& weights) {
  const float factor = measure.factor;
  const auto usual = [&](float score, float shift) { return multiply_add(score, factor, -shift); };
  if (!warp_any(has_huge_reference<typename Traits::Scores>(rows)))
    return weigh_by<Traits>(rows, scores, weights, usual);
  // Each row by its own reference: no bit of a row depends on another's.
  weigh_by<Traits>(rows, scores, weights, [&](float score, float shift) {
    return is_huge(shift) ? rounded_product(score, factor) - shift : usual(score, shift);
  });
}

// The row's lse. A product that was held stands for a score of half the largest number, whatever
// the scale makes of it.
TW_DEVICE float lse_of(const core::Row<float>& row, Measure measure) {
  const float held = rounded_product(measure.limit, measure.factor);
  constexpr float kHalf = core::largest<float>() / 2;
  if (row.sum > 0 && row.max >= held) return kHalf;
  if (row.sum > 0 && row.max <= -held) return -kHalf;
  return core::lse(row);
}

// Row r with the sum of all lanes that have a part of it.
TW_DEVICE core::Row<float> whole_row(RowsOfLane rows, int32 r) {
  core::Row<float> row = rows.at(r);
  if (wounded(core::Wound::kSumOfOneLane)) return row;
  row.sum += shuffle(row.sum, 1);
  row.sum += shuffle(row.sum, 2);
  return row;
}

}  // namespace tilewise::cuda::simple
