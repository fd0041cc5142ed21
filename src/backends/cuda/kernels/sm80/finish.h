// The epilogue of a tile of queries: divides the rows by their sums, and stores output and lse.
#pragma once

#include "backends/cuda/kernels/sm80/traits.h"

namespace tilewise::cuda::sm80 {

// Stores the warp's rows of output in pieces of 16 bytes, from the query tile, which now holds
// output. Row i goes to row_at(i).
template <class Traits, class RowAt>
TW_DEVICE void store_pieces_at(const Forward& p, const typename Traits::Memory& memory,
                               const RowAt& row_at) {
  using QueryTile = typename Traits::QueryTile;
  struct alignas(kPieceBytes) Piece {
    uint32 words[4];
  };
  constexpr int32 kCount = Traits::kRowsOfWarp * QueryTile::kPieces / kWarp;
  const auto rows = static_cast<int32>(memory.head.rows.size());
  const int32 thread = thread_index_anew(), before = thread / kWarp * Traits::kRowsOfWarp;
  const auto row_of = [&](int32 n) { return (n * kWarp + thread % kWarp) / QueryTile::kPieces; };
  const auto piece_of = [&](int32 n) { return (n * kWarp + thread % kWarp) % QueryTile::kPieces; };
  Piece pieces[kCount];
  TW_UNROLL
  for (int32 n = 0; n < kCount; ++n)
    pieces[n] = *reinterpret_cast<const Piece*>(memory.query.bytes +
                                                QueryTile::place(before + row_of(n), piece_of(n)));
  TW_UNROLL
  for (int32 n = 0; n < kCount; ++n) {
    const int32 row = before + row_of(n), skipped = piece_of(n) * kPieceBytes;
    // One predicate instead of two branches.
    const bool exists = static_cast<bool>((row < rows) & (skipped < p.output.bytes));
    if (exists) *reinterpret_cast<Piece*>(row_at(row) + skipped) = pieces[n];
  }
}

template <class Traits>
TW_DEVICE void store_pieces(const Forward& p, const typename Traits::Memory& memory) {
  const Head& head = memory.head;
  const auto at = [&](int64 h, int64 query) {
    return p.output.at(head.queries.batch, h, head.queries.first + query);
  };
  if (p.heads_in_tile == 1) {
    uint8* const first = at(head.h, head.rows.begin);
    const auto stride = static_cast<int32>(p.output.row);
    return store_pieces_at<Traits>(p, memory,
                                   [&](int32 i) { return first + wide_product(i, stride); });
  }
  store_pieces_at<Traits>(p, memory, [&](int32 i) {
    const RowOfHead of = row_of_head(p, head, i);
    return at(of.h, of.query);
  });
}

// Stores the warp's rows of output, from the query tile, element by element.
template <class Traits>
TW_DEVICE void store_elements(const Forward& p, const typename Traits::Memory& memory) {
  using QueryTile = typename Traits::QueryTile;
  const Head& head = memory.head;
  const auto rows = static_cast<int32>(head.rows.size());
  const int32 first = warp_index() * Traits::kRowsOfWarp, columns = p.output.bytes / 2;
  TW_ROLLED
  for (int32 x = lane_index(); x < Traits::kRowsOfWarp * columns; x += kWarp) {
    const int32 row = first + x / columns, column = x % columns;
    if (row >= rows) continue;
    const RowOfHead at = row_of_head(p, head, row);
    uint8* to = p.output.at(head.queries.batch, at.h, head.queries.first + at.query);
    const int32 place = QueryTile::place(row, column / 8) + column % 8 * 2;
    *reinterpret_cast<uint16*>(to + column * 2) =
        *reinterpret_cast<const uint16*>(memory.query.bytes + place);
  }
}

TW_DEVICE float sink_of(const Forward& p, int32 h) {
  const Tensor& sinks = p.scoring.sinks;
  return load_wide<float>(sinks, sinks.offset(0, h, 0, 0));
}

template <class Traits>
TW_DEVICE float kept_scale(const Forward& p) {
  const bool drops = score::asks<Traits::kFeatures>(p.scoring, score::kDropout);
  return drops ? static_cast<float>(p.scoring.dropout.decide.scale()) : 1.0f;
}

// Row r of a lane: its index in the tile, and its place in the call.
struct LaneRow {
  int32 i;
  bool exists;
  RowOfHead at;
};

template <class Traits>
TW_DEVICE int32 place_of_row(int32 thread, int32 r) {
  return thread / kWarp * Traits::kRowsOfWarp + r * 8 + thread % kWarp / 4;
}

template <class Traits>
TW_DEVICE LaneRow row_of_lane(const Forward& p, const Head& head, int32 thread, int32 r) {
  const int32 i = place_of_row<Traits>(thread, r);
  return {i, i < head.rows.size(), row_of_head(p, head, i)};
}

// Stores a split's rows in the workspace, where the merge reads them.
template <class Traits, class Rows>
TW_DEVICE void store_split(const Forward& p, const Head& head, const Rows& rows,
                           typename Traits::Output& output) {
  const int32 thread = thread_index_anew(), lane = thread & (kWarp - 1);
  const float kept = kept_scale<Traits>(p);
  score::for_each_row_of_lane<typename Traits::Output>([&](int32 r) {
    const core::Row<float> row = score::whole_row(rows, r);
    const LaneRow of = row_of_lane<Traits>(p, head, thread, r);
    if (!of.exists) return;
    const int64 place = row_place(p, head.split, head.b, of.at.h, of.at.query);
    if (lane % 4 == 0) p.splits.rows[place] = row;
    const float factor = row.sum == 0 ? 0.0f : kept / row.sum;
    const auto columns = static_cast<int32>(p.shape.value_dim) - 2 * (lane % 4);
    float* to = p.splits.output + place * p.shape.value_dim + 2 * (lane % 4);
    output.each_of_row(r, [&](float sum, int32 column) {
      if (column < columns) to[column] = sum * factor;
    });
  });
}

// The factor of a row's output, and the row's lse if lse is wanted.
struct RowFactor {
  float factor, lse;
};

// A row that sees no key has sum 0 and output 0.
template <class Traits>
TW_DEVICE RowFactor divide(const Forward& p, const core::Row<float>& seen, const LaneRow& of) {
  const score::Measure measure = p.scoring.measure;
  const bool saw_nothing = seen.sum == 0;
  const bool takes_sinks =
      Traits::kIsGeneral || Traits::kIsFeatured || architecture() < kSinksMerged;
  if (takes_sinks && (p.scoring.asked & score::kSinks) != 0 && of.exists) {
    const float sink = sink_of(p, of.at.h);
    const core::Row<float> row = core::merge(seen, core::row_of(sink));
    const float factor = core::exp2(seen.max - core::shift(row.max)) / row.sum;
    // If the row sees no key, its lse is exactly the sink.
    return {saw_nothing ? 0.0f : factor, saw_nothing ? sink : score::lse_of(row, measure)};
  }
  const float lse = p.lse ? score::lse_of(seen, measure) : 0.0f;
  return {saw_nothing ? 0.0f : 1 / seen.sum, lse};
}

template <class Traits>
TW_DEVICE void store_lse(const Forward& p, const Head& head, const LaneRow& of, float lse) {
  if (!p.lse || !of.exists) return;
  const int64 element =
      p.lse.offset(head.queries.batch, of.at.h, head.queries.first + of.at.query, 0);
  reinterpret_cast<float*>(p.lse.data)[element] = lse;
}

// Four lanes share two or four rows. Each lane finishes one row and returns the row's factor. If
// there are two rows, two lanes do the same work, and one of them stores the lse.
template <class Traits, class Rows>
TW_DEVICE float finish_row(const Forward& p, const Head& head, const Rows& rows, int32 thread) {
  constexpr int32 kRows = Traits::Output::kRowsOfLane;
  const int32 own = thread % kRows;
  core::Row<float> row = score::whole_row(rows, 0);
  TW_UNROLL
  for (int32 r = 1; r < kRows; ++r) {
    const core::Row<float> other = score::whole_row(rows, r);
    if (r == own) row = other;
  }
  const LaneRow of = row_of_lane<Traits>(p, head, thread, own);
  const RowFactor divided = divide<Traits>(p, row, of);
  if (thread % 4 < kRows) store_lse<Traits>(p, head, of, divided.lse);
  return divided.factor;
}

// Divides and stores the warp's rows.
template <class Traits, class Rows>
TW_DEVICE void finish(const Forward& p, typename Traits::Memory& memory, const Rows& rows,
                      typename Traits::Output& output) {
  using QueryTile = typename Traits::QueryTile;
  if (p.splits.are_left()) return store_split<Traits>(p, memory.head, rows, output);
  const int32 thread = thread_index_anew(), lane = thread & (kWarp - 1);
  const float kept = kept_scale<Traits>(p);
  const float own = kept * finish_row<Traits>(p, memory.head, rows, thread);
  score::for_each_row_of_lane<typename Traits::Output>([&](int32 r) {
    const int32 i = place_of_row<Traits>(thread, r);
    const float factor = brought_by(lane / 4 * 4 + r, own);
    float before = 0;
    output.each_of_row(r, [&](float sum, int32 column) {
      const int32 place = QueryTile::place(i, column / 8) + lane % 4 * 4;
      if (column % 2 == 1)
        *reinterpret_cast<uint32*>(memory.query.bytes + place) =
            pair_of<Traits::kType>(before * factor, sum * factor);
      before = sum;
    });
  });
  warp_barrier();
  if constexpr (Traits::kIsGeneral) {
    if (!p.output.in_pieces) return store_elements<Traits>(p, memory);
  }
  store_pieces<Traits>(p, memory);
}

}  // namespace tilewise::cuda::sm80
