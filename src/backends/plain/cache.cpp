// Rotary embedding, and new keys and values into a cache. Both go element by element: they move
// little beside the attention they serve.
#include "backends/plain/passes.h"
#include "backends/plain/rows.h"
#include "core/wound.h"

namespace tilewise::plain {
namespace {

// One head's row: `from` rotated into `to` as position `position`, or turned back.
struct Turn {
  const Rotation& rotation;
  int64 position;
  bool inverse;

  void operator()(const View& input, int64 from, const View& output, int64 to, int64 dim) const {
    const int64 pairs = rotation ? rotation.pairs() : 0;
    for (int64 c = 0; c < pairs; ++c) {
      const bool interleaved = rotation.interleaved != wounded(core::Wound::kRotaryPairs);
      const int64 first = interleaved ? 2 * c : c;
      const int64 second = interleaved ? 2 * c + 1 : c + pairs;
      const double x = load<double>(input, from + first), y = load<double>(input, from + second);
      const double cosine =
          load<double>(rotation.cosine, rotation.cosine.offset(0, 0, position, c));
      const double along = load<double>(rotation.sine, rotation.sine.offset(0, 0, position, c));
      const double sine = inverse != wounded(core::Wound::kRotarySign) ? -along : along;
      store(output, to + first, x * cosine - y * sine);
      store(output, to + second, x * sine + y * cosine);
    }
    for (int64 c = 2 * pairs; c < dim; ++c) store(output, to + c, load<double>(input, from + c));
  }
};

void append_row(const AppendProblem& p, const Place& fresh, const Place& cached, int64 t) {
  const int64 length = index_at(p.lengths, fresh.sequence * p.lengths.stride.batch);
  const Turn turn{p.rotation, wounded(core::Wound::kAppendUnrotated) ? t : length + t, false};
  const int64 row = length + t - (wounded(core::Wound::kAppendEarly) && length > 0 ? 1 : 0);
  const Rotation none;
  const Turn copy{none, 0, false};
  for (int64 h = 0; h < p.key_heads; ++h) {
    turn(p.key, p.fresh.row(p.key, fresh, h, t), p.key_cache,
         p.cache.row(p.key_cache, cached, h, row), p.dim);
    copy(p.value, p.fresh.row(p.value, fresh, h, t), p.value_cache,
         p.cache.row(p.value_cache, cached, h, row), p.value_dim);
  }
}

}  // namespace

void rotary(const RotaryProblem& problem, const Parallel& parallel) {
  const RotaryProblem& p = problem;
  const int64 longest = p.side.longest;
  parallel(p.batch * longest, [&](int64 task, int32) {
    const int64 b = task / longest, t = task % longest;
    const Place place = p.side.place(b);
    if (t >= place.length) return;
    const int64 first = p.positions ? index_at(p.positions, b * p.positions.stride.batch) : 0;
    const Turn turn{p.rotation, p.fixed ? first : first + t, p.inverse};
    for (int64 h = 0; h < p.heads; ++h)
      turn(p.input, p.side.row(p.input, place, h, t), p.output, p.side.row(p.output, place, h, t),
           p.dim);
  });
}

void append(const AppendProblem& problem, const Parallel& parallel) {
  const AppendProblem& p = problem;
  const int64 longest = p.fresh.longest;
  parallel(p.batch * longest, [&](int64 task, int32) {
    const Place fresh = p.fresh.place(task / longest);
    const Place cached = p.cache.place(task / longest);
    if (task % longest < fresh.length) append_row(p, fresh, cached, task % longest);
  });
  if (p.queries.output) rotary(p.queries, parallel);
}

}  // namespace tilewise::plain
