#include "host/turns.h"

#include "host/element.h"

namespace tilewise {
namespace {

void turn_head(const Turn& turn, int64 from, int64 to) {
  const View &input = turn.from.view, &output = turn.to.view;
  const int64 pairs = turn.pairs();
  for (int64 c = 0; c < pairs; ++c) {
    const Rotation& rotation = *turn.rotation;
    const bool interleaved = rotation.interleaved;
    const int64 first = interleaved ? 2 * c : c;
    const int64 second = interleaved ? 2 * c + 1 : c + pairs;
    const double x = load<double>(input, from + first), y = load<double>(input, from + second);
    const double cosine =
        load<double>(rotation.cosine, rotation.cosine.offset(0, 0, turn.position, c));
    const double along = load<double>(rotation.sine, rotation.sine.offset(0, 0, turn.position, c));
    const double sine = turn.inverse ? -along : along;
    store(output, to + first, x * cosine - y * sine);
    store(output, to + second, x * sine + y * cosine);
  }
  for (int64 c = 2 * pairs; c < turn.dim; ++c) store(output, to + c, load<double>(input, from + c));
}

}  // namespace

void turn_elements(const Turn& turn) {
  for (int64 h = 0; h < turn.heads; ++h) turn_head(turn, turn.from.head(h), turn.to.head(h));
}

}  // namespace tilewise
