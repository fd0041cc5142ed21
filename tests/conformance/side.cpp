// Where the rows of each sequence lie.
#include <algorithm>
#include <numeric>
#include <utility>

#include "conformance/case.h"
#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

using oracle::Random;

std::vector<std::int64_t> shuffled(std::int64_t count, Random& random) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t n = order.size(); n > 1; --n) {
    const auto other = random.integer(0, static_cast<std::int64_t>(n) - 1);
    std::swap(order[n - 1], order[static_cast<std::size_t>(other)]);
  }
  return order;
}

}  // namespace

std::int64_t SideCase::extent() const {
  if (packed.max_length > 0) return packed.max_length;
  return capacity.empty() ? 0 : *std::max_element(capacity.begin(), capacity.end());
}

std::array<std::int64_t, 2> SideCase::place(std::int64_t b, std::int64_t i) const {
  const auto at = static_cast<std::size_t>(b);
  const std::int64_t row = start[at] + i;
  switch (storage) {
    case Storage::kPacked: {
      std::int64_t token = packed.before + row;
      for (std::size_t earlier = 0; earlier < at; ++earlier) token += capacity[earlier];
      return {0, token};
    }
    case Storage::kPaged: {
      const std::int64_t columns = capacity[at] / page_size;
      return {places[static_cast<std::size_t>(b * columns + row / page_size)], row % page_size};
    }
    case Storage::kIndexed:
      return {places[at], row};
    default:
      return {b, row};
  }
}

SideCase side_of(Storage storage, const std::vector<std::int64_t>& lengths,
                 std::int64_t page_size) {
  SideCase side;
  side.storage = storage;
  side.end = lengths;
  side.start.assign(lengths.size(), 0);
  const auto batch = static_cast<std::int64_t>(lengths.size());
  std::int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  if (storage == Storage::kPacked) {
    side.capacity = lengths;
    return side;
  }
  std::int64_t places = batch;
  if (storage == Storage::kPaged) {
    const std::int64_t columns = std::max<std::int64_t>(1, (longest + page_size - 1) / page_size);
    side.page_size = page_size;
    longest = page_size * columns;
    places = batch * columns;
  }
  side.capacity.assign(lengths.size(), longest);
  side.has_used = storage == Storage::kPaged || side.capacity != side.end;
  if (!side.is_cache()) return side;
  Random random(static_cast<std::uint64_t>(longest + page_size));
  side.places = shuffled(places, random);
  side.outer = places;
  return side;
}

SideCase dense_side(std::int64_t batch, std::int64_t rows) {
  return side_of(Storage::kDense, std::vector<std::int64_t>(static_cast<std::size_t>(batch), rows));
}

}  // namespace tilewise::conformance
