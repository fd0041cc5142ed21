// Turns pair by pair; elements past the pairs pass through.
#include "oracle/rotary.h"

namespace tilewise::oracle {

Tensor rotate(const Tensor& input, const Rotation& rotation,
              const std::vector<std::int64_t>& positions) {
  Tensor result = input;
  const std::int64_t columns = rotation.cosine.shape[1];
  for (std::int64_t t = 0; t < input.shape[0]; ++t) {
    const std::int64_t position = positions[static_cast<std::size_t>(t)];
    for (std::int64_t h = 0; h < input.shape[1]; ++h) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t first = rotation.interleaved ? 2 * c : c;
        const std::int64_t second = rotation.interleaved ? 2 * c + 1 : c + columns;
        const double cosine = rotation.cosine.at(position, c);
        const double sine = rotation.sine.at(position, c) * (rotation.inverse ? -1 : 1);
        const double x = input.at(t, h, first), y = input.at(t, h, second);
        result.at(t, h, first) = x * cosine - y * sine;
        result.at(t, h, second) = y * cosine + x * sine;
      }
    }
  }
  return result;
}

}  // namespace tilewise::oracle
