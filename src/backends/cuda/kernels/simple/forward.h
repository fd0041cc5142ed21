// Attention forward by tensor cores. A block has kRows queries of one head, and each of its four
// warps 32 of them.
//
//   shared memory   query     key, value of tile n     key, value of tile n - 1, on their way
//                     |          |                          (cp.async)
//   a warp          score = query . key    registers, float32
//                   mask, raise, weigh     where the band's edge or a new maximum asks for it
//                   output += weights . value    registers: weights are a left operand as they lie
//
// Tiles of keys go from the last that the queries see to the first. A warp whose rows see nothing
// of a tile leaves it out.
#pragma once

#include "backends/cuda/kernels/simple/score.h"
#include "backends/cuda/kernels/simple/softmax.h"

namespace tilewise::cuda::simple {

template <class Traits>
TW_DEVICE void load_query(const Forward& p, typename Traits::Memory& memory) {
  const Head& head = memory.head;
  const int64 first = head.queries.first + head.rows.begin;
  Loader<typename Traits::QueryTile>::load(
      shared_address(&memory.query), {p.query.at(head.queries.batch, head.h, first), p.query.row,
                                      p.query.bytes, static_cast<int32>(head.rows.size())});
}

// Which of the buffers holds the tile of keys that begins at `first`: they take turns.
TW_DEVICE int32 stage_of(int32 first) {
  if (wounded(core::Wound::kStageNotTurned)) return 0;
  return static_cast<int32>(static_cast<uint32>(first) / kKeys % 2);
}

// Keys and values of the tile that begins at key `first`.
template <class Traits>
TW_DEVICE void load_keys(const Forward& p, typename Traits::Memory& memory, int32 first) {
  using From = Loader<typename Traits::KeyTile>;
  const Head& head = memory.head;
  const int32 stage = stage_of(first), left = static_cast<int32>(head.keys.length) - first;
  From::load(shared_address(&memory.key[stage]),
             {head.key + int64{first} * p.key.row, p.key.row, p.key.bytes, left});
  From::load(shared_address(&memory.value[stage]),
             {head.value + int64{first} * p.value.row, p.value.row, p.value.bytes, left});
}

// Calls body(first) for each tile of keys, once it has come; the next one is on its way by then.
template <class Traits, class Body>
TW_DEVICE void for_each_key_tile(const Forward& p, typename Traits::Memory& memory,
                                 const Body& body) {
  const Head& head = memory.head;
  TW_ROLLED
  for (int32 first = head.last_key; first >= head.first_key; first -= kKeys) {
    if (!wounded(core::Wound::kCopyNotAwaited)) wait_for_copies<0>();
    block_barrier();
    if (first > head.first_key) load_keys<Traits>(p, memory, first - kKeys);
    commit_copies();
    body(first);
  }
}

// In place of where a tile's keys begin: all rows see all of them.
inline constexpr int32 kWhole = -1;

// What a tile of keys changes of a warp.
template <class Traits>
struct Running {
  RowsOfLane rows;
  typename Traits::Output& output;
};

// Raises the rows' references where the scores ask for it. A tile of keys that begins at `border`
// is masked before.
template <class Traits>
TW_DEVICE void raise(const Forward& p, const Head& head, int32 border,
                     typename Traits::Scores& scores, Running<Traits> running) {
  const bool is_border = border != kWhole;
  if (!warp_any(is_border || is_unusual(running.rows, p.measure, scores))) return;
  hold(scores, p.measure.limit);
  if (is_border) mask(head, border, scores);
  raise_rows(running.rows, p.measure, scores, running.output);
}

// output += weights . value. `value` is where the lane begins to read the tile, down.
template <class Traits>
TW_DEVICE void accumulate(const typename Traits::Weights& weights, SharedAddress value,
                          typename Traits::Output& output) {
  Traits::OutputProduct::add(
      output, [&](int32 m, int32 k) { return weights.at[m][k]; },
      [&](int32 n, int32 k) {
        const SharedAddress at = Traits::KeyTile::moved(value, k * 16, n);
        if (wounded(core::Wound::kValuesNotTransposed)) return load_matrices(at);
        return load_matrices_transposed(at);
      });
}

// A row of the query tile, which now holds output, leaves in pieces of 16 bytes: each warp's own.
template <class Traits>
TW_DEVICE void store_rows(const Forward& p, const typename Traits::Memory& memory) {
  using QueryTile = typename Traits::QueryTile;
  struct alignas(kPieceBytes) Piece {
    uint32 words[4];
  };
  const Head& head = memory.head;
  const auto rows = static_cast<int32>(head.rows.size());
  const int64 first = head.queries.first + head.rows.begin;
  TW_UNROLL
  for (int32 n = 0; n < kRowsOfWarp * QueryTile::kPieces / kWarp; ++n) {
    const int32 x = n * kWarp + lane_index();
    const int32 row = warp_index() * kRowsOfWarp + x / QueryTile::kPieces;
    const int32 piece = x % QueryTile::kPieces;
    if (row >= rows || piece * kPieceBytes >= p.output.bytes) continue;
    uint8* to = p.output.at(head.queries.batch, head.h, first + row) + piece * kPieceBytes;
    *reinterpret_cast<Piece*>(to) =
        *reinterpret_cast<const Piece*>(memory.query.bytes + QueryTile::place(row, piece));
  }
}

// Divides, and writes the warp's rows.
template <class Traits>
TW_DEVICE void finish(const Forward& p, typename Traits::Memory& memory,
                      typename Traits::Output& output) {
  using QueryTile = typename Traits::QueryTile;
  const Head& head = memory.head;
  const int32 thread = thread_index_anew(), first_row = first_row_of(thread);
  const RowsOfLane rows = rows_of_lane(memory.rows);
  for_each_row_of_lane<typename Traits::Output>([&](int32 r) {
    const int32 i = first_row + r * 8;
    const core::Row<float> row = whole_row(rows, r);
    if (p.lse && thread % 4 == 0 && i < head.rows.size()) {
      const int64 at = head.queries.first + head.rows.begin + i;
      reinterpret_cast<float*>(p.lse.data)[p.lse.offset(head.queries.batch, head.h, at, 0)] =
          lse_of(row, p.measure);
    }
    // A row that saw nothing has sum 0, and output 0.
    const float factor = row.sum == 0 ? 0.0f : 1 / row.sum;
    float before = 0;
    output.each_of_row(r, [&](float sum, int32 column) {
      const int32 place = QueryTile::place(i, column / 8) + thread % 4 * 4;
      if (column % 2 == 1)
        *reinterpret_cast<uint32*>(memory.query.bytes + place) =
            pair_of<Traits::kType>(before * factor, sum * factor);
      before = sum;
    });
  });
  // The warp's own would do, but racecheck does not see that one.
  block_barrier();
  store_rows<Traits>(p, memory);
}

template <class Traits>
TW_DEVICE void forward(const Forward& p) {
  using QueryTile = typename Traits::QueryTile;
  using KeyTile = typename Traits::KeyTile;
  auto& memory = shared_memory<typename Traits::Memory>();
  const Head& head = memory.head;
  enter(p, memory.head);
  if (head.rows.empty()) return;
  load_query<Traits>(p, memory);
  if (head.last_key >= head.first_key) load_keys<Traits>(p, memory, head.last_key);
  commit_copies();

  typename Traits::Output output;
  output.clear();
  clear(memory.rows);
  const int32 warps_first = warp_index() * kRowsOfWarp * QueryTile::kRowBytes;
  Query<Traits> query{QueryTile::down(shared_address(&memory.query), lane_index()) + warps_first,
                      {}};
  if constexpr (Traits::kHoldsQuery) {
    wait_for_copies<0>();
    block_barrier();
    query.hold();
  }
  for_each_key_tile<Traits>(p, memory, [&](int32 first) {
    const Reach reach = head.reach[warp_index()];
    if (!reach.meets(first)) return;
    typename Traits::Scores scores;
    typename Traits::Weights weights;
    const int32 stage = stage_of(first) * KeyTile::kBytes, lane = thread_index_anew() & (kWarp - 1);
    const SharedAddress key = KeyTile::across(shared_address(&memory.key), lane) + stage;
    const SharedAddress value = KeyTile::down(shared_address(&memory.value), lane) + stage;
    score(query, key, scores);
    const RowsOfLane rows = rows_of_lane(memory.rows);
    raise<Traits>(p, head, reach.covers(first) ? kWhole : first, scores, {rows, output});
    weigh<Traits>(rows, p.measure, scores, weights);
    accumulate<Traits>(weights, value, output);
  });
  wait_for_copies<0>();
  block_barrier();
  finish<Traits>(p, memory, output);
}

}  // namespace tilewise::cuda::simple
