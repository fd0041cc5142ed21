// Tiles of 16-bit elements in shared memory: how rows come in, and from where lanes read fragments.
#pragma once

#include "backends/cuda/device/copy.h"
#include "backends/cuda/device/matrix.h"
#include "backends/cuda/kernels/simple/launch.h"

namespace tilewise::cuda::simple {

inline constexpr int32 kPieceBytes = 16;

// Rows lie in pieces of 16 bytes, and a row's pieces change places by its number: what a warp reads
// or writes at once (eight rows of one column of pieces) lies in different banks.
template <int32 rows, int32 columns>
struct Tile {
  static_assert(columns % 32 == 0);
  static constexpr int32 kTileRows = rows, kPieces = columns / 8;
  static constexpr int32 kRowBytes = columns * 2, kBytes = rows * kRowBytes;
  // Whole groups of eight pieces change places, or of four where a row has no whole eights.
  static constexpr int32 kGroup = columns % 64 == 0 ? 8 : 4;

  // Of the first byte of a piece.
  TW_DEVICE static int32 place(int32 row, int32 piece) {
    const int32 turn = kGroup == 8 ? row & 7 : row >> 1 & 3;
    return row * kRowBytes + (piece ^ turn) * kPieceBytes;
  }

  // Where a lane's row of four matrices begins. `down`: two matrices below each other and two
  // to their right; `across`: two beside each other and two below those.
  TW_DEVICE static SharedAddress down(SharedAddress tile, int32 lane) {
    return tile + place(lane & 15, lane >> 4);
  }
  TW_DEVICE static SharedAddress across(SharedAddress tile, int32 lane) {
    return tile + place((lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
  }

  // The same place of a lane `row` rows below, a multiple of 16, and `step` times 16 columns to the
  // right. Tiles are aligned so that exchanged pieces are flipped bits.
  TW_DEVICE static SharedAddress moved(SharedAddress lane, int32 row, int32 step) {
    constexpr int32 kSteps = kGroup / 2;
    const SharedAddress inside = lane ^ (step % kSteps * 2 * kPieceBytes);
    return inside + (step / kSteps * kGroup * kPieceBytes + row * kRowBytes);
  }

  alignas(128) uint8 bytes[kBytes];
};

// What a tile is filled from; whatever lies beyond its rows and bytes becomes zeros.
struct Source {
  const uint8* first;
  int32 stride, bytes;  // of a row
  int32 rows;           // below 1: none
};

TW_HD constexpr int32 power_of_two_within(int32 x) {
  return x < 2 ? 1 : 2 * power_of_two_within(x / 2);
}

// One thread's share of filling a tile: one column of pieces, and every kApart-th row.
template <class Tile>
struct Loader {
  static constexpr int32 kApart = power_of_two_within(kThreads / Tile::kPieces);
  static_assert(kApart % 8 == 0, "pieces change places alike in all rows of a thread");
  static_assert(Tile::kTileRows % kApart == 0);

  TW_DEVICE static void load(SharedAddress tile, const Source& from) {
    const auto thread = static_cast<uint32>(thread_index_anew());
    const auto row = static_cast<int32>(thread / Tile::kPieces);
    const auto piece = static_cast<int32>(thread % Tile::kPieces);
    if (kApart * Tile::kPieces != kThreads && row >= kApart) return;
    const uint8* at = from.first + (row * from.stride + piece * kPieceBytes);
    const SharedAddress to = tile + Tile::place(row, piece);
    const bool is_whole = from.rows >= Tile::kTileRows && from.bytes >= Tile::kPieces * kPieceBytes;
    if (is_whole)
      each([&](int32 i) { copy_later(to + i * Tile::kRowBytes, at + int64{i} * from.stride); });
    else
      each([&](int32 i) {
        const bool exists = row + i < from.rows && piece * kPieceBytes < from.bytes;
        copy_or_zeros_later(to + i * Tile::kRowBytes, at + int64{i} * from.stride, exists);
      });
  }

 private:
  template <class Body>
  TW_DEVICE static void each(const Body& body) {
    TW_UNROLL
    for (int32 i = 0; i < Tile::kTileRows; i += kApart) body(i);
  }
};

}  // namespace tilewise::cuda::simple
