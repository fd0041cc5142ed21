// One tile of the backward pass. Weights are recomputed from the scores and the row's denominator;
// each pass then computes the products that it needs from the tile.
#pragma once

#include "backends/cuda/kernels/plain/tile.h"

namespace tilewise::cuda::plain {

template <class T>
struct BackwardMemory {
  ScoreTile<T> tile;
  int64 output_gradient[kSide<T>];  // where the rows begin
  KnownRow<T> known[kSide<T>];
  T piece[kChunk * (kWidth + 1)];
};

// Where the rows of head h of sequence b begin in the table of known rows.
template <class T>
TW_DEVICE KnownRow<T>* known_rows(const Backward& p, const Head<T>& head) {
  const Shape& shape = p.attention.shape;
  return static_cast<KnownRow<T>*>(p.sums.known) + (head.b * shape.heads + head.h) * shape.queries;
}

// Loads the places of `rows`, and what is known of each. Begins and ends with a barrier.
template <class T>
TW_DEVICE void load_rows(const Backward& p, BackwardMemory<T>& memory, Range rows) {
  const Head<T>& head = memory.tile.head;
  load_query(p.attention, memory.tile, rows);
  const KnownRow<T>* known = known_rows(p, head);
  for (int32 i = thread_index(); i < kSide<T>; i += kThreads) {
    uint32 faults = 0;
    memory.output_gradient[i] = kNowhere;
    if (i >= rows.size()) continue;
    const Spot spot = spot_of(p.attention.queries, head.queries, rows.begin + i, faults);
    memory.output_gradient[i] = spot.in(p.gradients.output, head.h);
    memory.known[i] = known[rows.begin + i];
  }
  block_barrier();
}

template <class T>
TW_DEVICE Rows<T> query_rows(const Backward& p, const BackwardMemory<T>& memory) {
  const Attention& a = p.attention;
  return {a.query, memory.tile.at.query, a.shape.dim, memory.tile.head.factor(a.scaling.query)};
}

template <class T>
TW_DEVICE Rows<T> key_rows(const Backward& p, const BackwardMemory<T>& memory) {
  const Attention& a = p.attention;
  return {a.key, memory.tile.at.key, a.shape.dim, memory.tile.head.factor(a.scaling.key)};
}

template <class T>
TW_DEVICE Rows<T> output_gradient_rows(const Backward& p, const BackwardMemory<T>& memory) {
  const Attention& a = p.attention;
  return {p.gradients.output, memory.output_gradient, a.shape.value_dim,
          memory.tile.head.factor(a.scaling.output_gradient)};
}

// The numbers of one pair of query and key.
template <class T>
struct Derived {
  T weight;        // the probability, after dropout
  T gradient;      // of the score that enters the softmax
  T raw_gradient;  // of scale * q.k, before the softcap
};

template <class T>
TW_DEVICE Derived<T> derive(const Attention& p, const BackwardMemory<T>& memory, int32 i, int32 j) {
  const ScoreTile<T>& tile = memory.tile;
  const Head<T>& head = tile.head;
  if (i >= tile.at.rows.size() || j >= tile.at.columns.size()) return {};
  const Mapped<T> mapped = map(p, tile, i, j);
  if (mapped.score == -core::infinity<T>()) return {};
  T keep = 1;
  if (head.dropout.active())
    keep = head.keeps(p.dropout, tile.at.rows.begin + i, tile.at.columns.begin + j)
               ? static_cast<T>(head.dropout.scale())
               : T(0);
  const KnownRow<T>& known = memory.known[i];
  const T weight = weight_in(known.denominator, mapped.score);
  const T through_output = tile.gradient[i * (kSide<T> + 1) + j] * keep;
  const T gradient = weight * (through_output - known.delta);
  const core::Softcap<T> softcap{static_cast<T>(p.scores.softcap)};
  return {weight * keep, gradient, gradient * softcap.derivative(mapped.capped)};
}

enum class Wants { kWeights, kGradient };

// With Wants::kGradient, sets tile.scores to the raw gradients and tile.gradient to the gradients
// of the scores (see Derived). With Wants::kWeights, sets tile.gradient to the weights and leaves
// tile.scores undefined; the output's gradient is not read. Results are 0 beyond the tile's rows
// and columns.
template <class T>
TW_DEVICE void differentiate(const Backward& p, BackwardMemory<T>& memory, Wants wants) {
  const Attention& a = p.attention;
  ScoreTile<T>& tile = memory.tile;
  const Rows<T> value{a.value, tile.at.value, a.shape.value_dim, tile.head.factor(a.scaling.value)};
  const Rows<T> query = query_rows(p, memory), key = key_rows(p, memory),
                incoming = output_gradient_rows(p, memory);
  const int32 products = wants == Wants::kGradient ? 2 : 1;
  // First the scores, then the products with values. A loop keeps the product's code in one place.
  TW_ROLLED
  for (int32 n = 0; n < products; ++n)
    product_of_rows<T>(either(n == 0, query, incoming), either(n == 0, key, value), tile.pieces,
                       n == 0 ? tile.scores : tile.gradient);
  for (int32 i = warp_index(); i < kSide<T>; i += kWarps) {
    for_each_column<T>([&](int32 j) {
      const int32 n = i * (kSide<T> + 1) + j;
      const Derived<T> derived = derive(a, memory, i, j);
      tile.scores[n] = derived.raw_gradient;
      tile.gradient[n] = wants == Wants::kWeights ? derived.weight : derived.gradient;
    });
  }
  block_barrier();
}

// The sum over all threads of the block. `between` has one element per warp.
template <class T>
TW_DEVICE T block_sum(T number, T* between) {
  const T sum = warp_sum(number);
  block_barrier();
  if (lane_index() == 0) between[warp_index()] = sum;
  block_barrier();
  T total = 0;
  for (int32 w = 0; w < kWarps; ++w) total += between[w];
  return total;
}

}  // namespace tilewise::cuda::plain
