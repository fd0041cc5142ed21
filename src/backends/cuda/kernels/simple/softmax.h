// The running rows of a warp: four lanes have a part of each row.
#pragma once

#include "backends/cuda/device/float.h"
#include "backends/cuda/kernels/simple/traits.h"
#include "core/softmax.h"

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

// The references of the rows that a lane has a part of; row r's is 8 r behind the first.
TW_DEVICE float* references(Head& head) {
  return head.reference + first_row_of(thread_index_anew());
}

// Whether the lane has something to see to: a score far above its row's reference, or a row whose
// products are all beyond the measure, up, down or NaN.
template <class Scores>
TW_DEVICE bool is_unusual(Head& head, Measure measure, Scores& scores) {
  const float* reference = references(head);
  bool unusual = false;
  for_each_row_of_lane<Scores>([&](int32 r) {
    const float largest = largest_of_lane(scores, r);
    unusual = unusual || largest * measure.factor > reference[r * 8] + kSlack;
    unusual = unusual || !(largest <= measure.limit && largest >= -measure.limit);
  });
  return unusual;
}

// Moves the references of rows that passed their own limit, and what was accumulated with them.
template <class Traits>
TW_DEVICE void raise_rows(Head& head, Measure measure, typename Traits::Scores& scores,
                          typename Traits::Running& running) {
  float* reference = references(head);
  for_each_row_of_lane<typename Traits::Scores>([&](int32 r) {
    core::Row<float> row{reference[r * 8], running.sum[r]};
    // Nobody writes a reference that another lane has not read yet.
    warp_barrier();
    const float score = largest_of_row(scores, r) * measure.factor;
    if (!(score > row.max + kSlack)) return;
    const float factor = core::raise(row, score);
    // All lanes that have a part of the row write the same.
    reference[r * 8] = row.max;
    running.sum[r] = row.sum;
    if (wounded(core::Wound::kOutputNotRescaled)) return;
    running.output.each_of_row(r, [&](float& sum, int32) { sum *= factor; });
  });
}

// Scores to weights, rounded to the values' type, and the unrounded ones into the rows' sums.
template <class Traits>
TW_DEVICE void weigh(Head& head, Measure measure, typename Traits::Scores& scores,
                     typename Traits::Running& running, typename Traits::Weights& weights) {
  const float* reference = references(head);
  for_each_row_of_lane<typename Traits::Scores>([&](int32 r) {
    const float shift = core::shift(reference[r * 8]);
    float even = 0, odd = 0, before = 0;
    scores.each_of_row(r, [&](float score, int32 column) {
      const float weight = exp2_approximate(score * measure.factor - shift);
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
    running.sum[r] += even + odd;
  });
}

// The rows' sums, in all lanes that have a part of them.
template <class Traits>
TW_DEVICE void share_sums(typename Traits::Running& running) {
  if (wounded(core::Wound::kSumOfOneLane)) return;
  for_each_row_of_lane<typename Traits::Output>([&](int32 r) {
    float& sum = running.sum[r];
    sum += shuffle(sum, 1);
    sum += shuffle(sum, 2);
  });
}

}  // namespace tilewise::cuda::simple
