#include "host/cache_ops.h"

#include "host/element.h"

namespace tilewise {
namespace {

void move_head(const TokenRows& token, int64 from, int64 to) {
  const View &input = token.from.view, &output = token.to.view;
  const int64 pairs = token.pairs();
  for (int64 c = 0; c < pairs; ++c) {
    const Rotation& rotation = *token.rotation;
    const bool interleaved = rotation.interleaved;
    const int64 first = interleaved ? 2 * c : c;
    const int64 second = interleaved ? 2 * c + 1 : c + pairs;
    const double x = load<double>(input, from + first), y = load<double>(input, from + second);
    const double cosine =
        load<double>(rotation.cosine, rotation.cosine.offset(0, 0, token.position, c));
    const double along = load<double>(rotation.sine, rotation.sine.offset(0, 0, token.position, c));
    const double sine = token.inverse ? -along : along;
    store(output, to + first, x * cosine - y * sine);
    store(output, to + second, x * sine + y * cosine);
  }
  for (int64 c = 2 * pairs; c < token.dim; ++c)
    store(output, to + c, load<double>(input, from + c));
}

}  // namespace

void move_elements(const TokenRows& token) {
  for (int64 h = 0; h < token.heads; ++h) move_head(token, token.from.head(h), token.to.head(h));
}

}  // namespace tilewise
