// How the rows of a matrix come into a tile.
#pragma once

#include "backends/cuda/kernels/element.h"
#include "backends/cuda/kernels/simple/tile.h"
#include "backends/cuda/kernels/sm80/backward_launch.h"

namespace tilewise::cuda::sm80 {

using simple::kPieceBytes;

// Eight elements.
struct alignas(kPieceBytes) Piece {
  uint32 words[4];
};

// A piece of a row of `bytes` bytes that may begin anywhere. What lies beyond the row is 0.
TW_DEVICE Piece gather_piece(const uint8* row, int32 piece, int32 bytes) {
  Piece gathered{};
  const int32 first = piece * kPieceBytes;
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n) {
    const uint32 element = first + 2 * n < bytes ? raw<uint16>(row + first + 2 * n) : 0;
    gathered.words[n / 2] |= element << n % 2 * 16;
  }
  return gathered;
}

TW_DEVICE Piece piece_at(const Matrix& from, const uint8* row, int32 piece) {
  const int32 bytes = from.rows.bytes;
  if (!from.in_pieces) return gather_piece(row, piece, bytes);
  return piece * kPieceBytes < bytes ? *reinterpret_cast<const Piece*>(row + piece * kPieceBytes)
                                     : Piece{};
}

TW_DEVICE void put_piece(const Matrix& to, uint8* row, int32 piece, const Piece& from) {
  const int32 first = piece * kPieceBytes, bytes = to.rows.bytes;
  if (first >= bytes) return;
  if (to.in_pieces) {
    *reinterpret_cast<Piece*>(row + first) = from;
    return;
  }
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n)
    if (first + 2 * n < bytes)
      *reinterpret_cast<uint16*>(row + first + 2 * n) =
          static_cast<uint16>(from.words[n / 2] >> n % 2 * 16);
}

// One thread's share of filling a tile: one column of pieces, and every kApart-th row. Where rows
// may begin anywhere, `is_any` says so, and those that do come element by element.
template <class Tile, int32 threads, bool is_any>
struct Filling {
  static constexpr int32 kFits = simple::power_of_two_within(threads / Tile::kPieces);
  static constexpr int32 kApart = kFits < Tile::kTileRows ? kFits : Tile::kTileRows;
  // Pieces change places alike in all rows of a thread.
  static constexpr bool kRepeats = kApart % 8 == 0;

  // `first` is where the first of `rows` rows begins.
  TW_DEVICE static void fill(Tile& tile, const Matrix& from, const uint8* first, int32 rows) {
    const auto thread = static_cast<uint32>(thread_index());
    const auto row = static_cast<int32>(thread / Tile::kPieces);
    const auto piece = static_cast<int32>(thread % Tile::kPieces);
    if (kApart * Tile::kPieces != threads && row >= kApart) return;
    if constexpr (is_any) {
      if (!from.in_pieces) return gather(tile, from.rows, first, {row, piece, rows});
    }
    const uint8* at = first + (int64{row} * from.rows.row + piece * kPieceBytes);
    const SharedAddress to = shared_address(&tile);
    const SharedAddress mine = to + Tile::place(row, piece);
    const auto place = [&](int32 i) {
      return kRepeats ? mine + i * Tile::kRowBytes : to + Tile::place(row + i, piece);
    };
    const int64 stride = from.rows.row;
    if (rows >= Tile::kTileRows && from.rows.bytes >= Tile::kPieces * kPieceBytes)
      each([&](int32 i) { copy_later(place(i), at + i * stride); });
    else
      each([&](int32 i) {
        const bool exists = row + i < rows && piece * kPieceBytes < from.rows.bytes;
        copy_or_zeros_later(place(i), at + i * stride, exists);
      });
  }

 private:
  struct Mine {
    int32 row, piece, rows;
  };

  TW_DEVICE static void gather(Tile& tile, const Rows& from, const uint8* first, Mine mine) {
    TW_ROLLED
    for (int32 i = mine.row; i < Tile::kTileRows; i += kApart) {
      const uint8* row = first + int64{i} * from.row;
      *reinterpret_cast<Piece*>(tile.bytes + Tile::place(i, mine.piece)) =
          i < mine.rows ? gather_piece(row, mine.piece, from.bytes) : Piece{};
    }
  }

  template <class Body>
  TW_DEVICE static void each(const Body& body) {
    TW_UNROLL
    for (int32 i = 0; i < Tile::kTileRows; i += kApart) body(i);
  }
};

}  // namespace tilewise::cuda::sm80
