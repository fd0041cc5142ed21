#include "cli/core/cases.h"

#include <algorithm>

namespace tilewise::cli {
namespace {

// The number of keys that query `i` sees. Bands and chunks are intervals, clipped to the sequence.
std::int64_t seen(const Mask& mask, std::int64_t i, std::int64_t queries, std::int64_t keys) {
  const std::int64_t diagonal = mask.diagonal == TW_BOTTOM_RIGHT ? keys - queries
                                : mask.diagonal == TW_TOP_LEFT   ? 0
                                                                 : mask.shift;
  const std::int64_t centre = i + diagonal;
  std::int64_t first = mask.left ? centre - *mask.left : 0;
  std::int64_t last = mask.right ? centre + *mask.right : keys - 1;
  if (mask.chunk > 0) {
    const std::int64_t remainder = ((centre % mask.chunk) + mask.chunk) % mask.chunk;
    first = std::max(first, centre - remainder);
    last = std::min(last, centre - remainder + mask.chunk - 1);
  }
  return std::max<std::int64_t>(0, std::min(last, keys - 1) - std::max<std::int64_t>(first, 0) + 1);
}

}  // namespace

std::int64_t Sizes::query_length(std::int64_t sequence) const {
  return is_packed() ? query_lengths.at(static_cast<std::size_t>(sequence)) : queries;
}

std::int64_t Sizes::key_length(std::int64_t sequence) const {
  return is_packed() ? key_lengths.at(static_cast<std::size_t>(sequence)) : keys;
}

bool is_causal(const Mask& mask) {
  return mask.right == 0 && !mask.left;
}

double visible_pairs(const Case& shape) {
  const Sizes& sizes = shape.sizes;
  double pairs = 0;
  const bool is_alike = !sizes.is_packed();
  for (std::int64_t sequence = 0; sequence < (is_alike ? 1 : sizes.batch); ++sequence) {
    const std::int64_t queries = sizes.query_length(sequence);
    const std::int64_t keys = sizes.key_length(sequence);
    for (std::int64_t i = 0; i < queries; ++i) {
      pairs += static_cast<double>(seen(shape.mask, i, queries, keys));
    }
  }
  return pairs * static_cast<double>(sizes.heads * (is_alike ? sizes.batch : 1));
}

double operations(const Case& shape, bool backward) {
  const double dims = static_cast<double>(shape.sizes.dim + shape.sizes.value_dim) / 2;
  return (backward ? 10 : 4) * visible_pairs(shape) * dims;
}

}  // namespace tilewise::cli
