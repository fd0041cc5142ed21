// The walk of rotary embedding and of appending, token by token: which rows a token has, where they
// go, and the position that they are rotated by. The backend rotates the rows.
#pragma once

#include "parallel/parallel.h"
#include "problem/place.h"
#include "problem/problem.h"

namespace tilewise {

// The rows of one token in a tensor: head h has `dim` elements from element `at + h * stride.head`.
struct HeadRows {
  const View& view;
  int64 at;

  int64 head(int64 h) const { return at + h * view.stride.head; }
};

// One token to be copied or rotated, with the rows of all its heads.
struct TokenRows {
  HeadRows from, to;
  int64 heads, dim;
  const Rotation* rotation;  // null: rows are copied
  int64 position;
  bool inverse;

  int64 pairs() const { return rotation ? rotation->pairs() : 0; }
};

// Copies or rotates the token element by element, in double, and rounds each result once.
void move_elements(const TokenRows& token);

// Tokens for one task, enough that taking a task costs little beside running it.
inline int64 tokens_of_task(int64 heads, int64 dim) {
  constexpr int64 kElements = 16384;
  return core::larger(int64{1}, kElements / core::larger(int64{1}, heads * dim));
}

// Calls body(b, t) for every token t < `longest` of `batch` sequences, `tokens` of them a task.
template <class Body>
void for_each_token(int64 batch, int64 longest, int64 tokens, const Parallel& parallel,
                    const Body& body) {
  const int64 tasks = core::ceil_div(longest, tokens);
  parallel(batch * tasks, [&](int64 task, int32) {
    const int64 first = task % tasks * tokens, end = core::smaller(longest, first + tokens);
    for (int64 t = first; t < end; ++t) body(task / tasks, t);
  });
}

template <class Move>
void rotate(const RotaryProblem& p, const Parallel& parallel, const Move& move) {
  const int64 tokens = tokens_of_task(p.heads, p.dim);
  for_each_token(p.batch, p.side.longest, tokens, parallel, [&](int64 b, int64 t) {
    const Place place = place_of(p.side, b);
    if (t >= place.length) return;
    const int64 first = p.positions ? index_at(p.positions, b * p.positions.stride.batch) : 0;
    move(TokenRows{{p.input, row_of(p.side, p.input, place, 0, t)},
                   {p.output, row_of(p.side, p.output, place, 0, t)},
                   p.heads,
                   p.dim,
                   p.rotation ? &p.rotation : nullptr,
                   p.fixed ? first : first + t,
                   p.inverse});
  });
}

template <class Move>
void append(const AppendProblem& p, const Parallel& parallel, const Move& move) {
  const int64 tokens = tokens_of_task(p.key_heads, p.dim + p.value_dim);
  for_each_token(p.batch, p.fresh.longest, tokens, parallel, [&](int64 b, int64 t) {
    const Place fresh = place_of(p.fresh, b), cached = place_of(p.cache, b);
    if (t >= fresh.length) return;
    const int64 length = index_at(p.lengths, b * p.lengths.stride.batch);
    const int64 row = length + t;
    move(TokenRows{{p.key, row_of(p.fresh, p.key, fresh, 0, t)},
                   {p.key_cache, row_of(p.cache, p.key_cache, cached, 0, row)},
                   p.key_heads,
                   p.dim,
                   p.rotation ? &p.rotation : nullptr,
                   length + t,
                   false});
    move(TokenRows{{p.value, row_of(p.fresh, p.value, fresh, 0, t)},
                   {p.value_cache, row_of(p.cache, p.value_cache, cached, 0, row)},
                   p.key_heads,
                   p.value_dim,
                   nullptr,
                   0,
                   false});
  });
  if (p.queries.output) rotate(p.queries, parallel, move);
}

}  // namespace tilewise
