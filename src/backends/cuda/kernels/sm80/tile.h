// Tiles of 16-bit elements in shared memory: how rows come in, and from where lanes read fragments.
#pragma once

#include "backends/cuda/device/copy.h"
#include "backends/cuda/device/matrix.h"

namespace tilewise::cuda::sm80 {

inline constexpr int32 kPieceBytes = 16;

// Rows lie in pieces of 16 bytes, and a row's pieces change places by its number: what a warp reads
// or writes at once (eight rows of one column of pieces) lies in different banks. Rows are filled
// up to a multiple of 32 elements; what lies there is neither written nor read.
template <int32 rows, int32 columns>
struct Tile {
  static_assert(columns % 16 == 0);
  static constexpr int32 kTileRows = rows, kPieces = columns / 8;
  static constexpr int32 kRowBytes = (columns + 31) / 32 * 64, kBytes = rows * kRowBytes;
  // Whole groups of eight pieces change places, or of four where a row has no whole eights.
  static constexpr int32 kGroup = kRowBytes % 128 == 0 ? 8 : 4;

  // Of the first byte of a piece.
  TW_DEVICE static int32 place(int32 row, int32 piece) {
    const int32 turn = kGroup == 8 ? row & 7 : row >> 1 & 3;
    return row * kRowBytes + (piece ^ turn) * kPieceBytes;
  }

  // Where a lane's row of four matrices begins. `down`: two matrices below each other and two
  // to their right; `across`: two beside each other and two below those. Down serves left sides
  // that lie as [m][k] and, transposed, right ones as [k][n]; across serves right sides as [n][k]
  // and, transposed, left ones as [k][m].
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

// None where the count is 0.
template <class Each, int32 count>
struct Several {
  Each at[count];
};
template <class Each>
struct Several<Each, 0> {};

// What a tile is filled from; whatever lies beyond its rows and bytes becomes zeros.
struct Source {
  const uint8* first;
  int64 stride;  // of rows, in bytes
  int32 bytes;   // of a row
  int32 rows;    // below 1: none
};

TW_HD constexpr int32 power_of_two_within(int32 x) {
  return x < 2 ? 1 : 2 * power_of_two_within(x / 2);
}

// One thread's share of filling a tile, of `threads`: one column of pieces, and every kApart-th
// row.
template <class Tile, int32 threads>
struct Loader {
  static constexpr int32 kMostApart = power_of_two_within(threads / Tile::kPieces);
  static constexpr int32 kApart = core::smaller(kMostApart, Tile::kTileRows);
  static_assert(Tile::kTileRows % kApart == 0);

  // A thread's first row, and its column.
  struct Share {
    int32 row, piece;

    TW_DEVICE bool has_rows() const { return kApart * Tile::kPieces == threads || row < kApart; }
    // Of the thread's first piece.
    TW_DEVICE int32 place() const { return Tile::place(row, piece); }
    TW_DEVICE int32 bytes_before() const { return piece * kPieceBytes; }
  };

  TW_DEVICE static Share share_of(int32 thread) {
    const auto i = static_cast<uint32>(thread);
    return {static_cast<int32>(i / Tile::kPieces), static_cast<int32>(i % Tile::kPieces)};
  }

  // Of rows that lie a stride apart, in whole pieces.
  TW_DEVICE static void load(SharedAddress tile, const Source& from) {
    const Share share = share_of(thread_index_anew());
    const uint8* at = from.first + (share.row * from.stride + share.bytes_before());
    load(tile + share.place(), share, at, from);
  }

  // The same, where it is known already to what place the thread's first piece goes, and from
  // where.
  TW_DEVICE static void load(SharedAddress first, Share share, const uint8* at,
                             const Source& from) {
    if (!share.has_rows()) return;
    const bool is_whole = from.rows >= Tile::kTileRows && from.bytes >= Tile::kPieces * kPieceBytes;
    if (is_whole)
      each(first, share, [&](SharedAddress to, int32 i) { copy_later(to, at + i * from.stride); });
    else
      each(first, share, [&](SharedAddress to, int32 i) {
        const int32 left = from.bytes - share.bytes_before();
        const int32 bytes = share.row + i < from.rows ? core::larger(left, 0) : 0;
        copy_part_later(to, at + i * from.stride, core::smaller(bytes, kPieceBytes));
      });
  }

  // Of rows that lie anyhow, in whole pieces: row_at(i) is where row i begins, or null.
  template <class RowAt>
  TW_DEVICE static void load_rows(SharedAddress tile, int32 bytes, const RowAt& row_at) {
    const Share share = share_of(thread_index_anew());
    if (!share.has_rows()) return;
    const int32 skipped = share.bytes_before();
    each(tile + share.place(), share, [&](SharedAddress to, int32 i) {
      const uint8* row = row_at(share.row + i);
      const bool exists = row && skipped < bytes;
      copy_or_zeros_later(to, exists ? row + skipped : row, exists);
    });
  }

  // The same of elements of two bytes that lie anyhow, by threads that wait for them. They lie
  // there after the next barrier. `bytes_of_tile`: where `tile` lies.
  template <class RowAt>
  TW_DEVICE static void load_elements(uint8* bytes_of_tile, int32 bytes, const RowAt& row_at) {
    constexpr int32 kElements = Tile::kPieces * 8;
    TW_ROLLED
    for (int32 x = thread_index(); x < Tile::kTileRows * kElements; x += threads) {
      const int32 i = x / kElements, column = x % kElements;
      const uint8* row = row_at(i);
      const uint16 element = row && column * 2 < bytes
                                 ? *reinterpret_cast<const uint16*>(row + column * 2)
                                 : uint16{0};
      *reinterpret_cast<uint16*>(bytes_of_tile + Tile::place(i, column / 8) + column % 8 * 2) =
          element;
    }
  }

 private:
  // Calls body(place in the tile, row beyond the thread's first) for the thread's rows, the first
  // of which goes to `first`. Where they lie eights apart their pieces change places alike.
  template <class Body>
  TW_DEVICE static void each(SharedAddress first, Share share, const Body& body) {
    TW_UNROLL
    for (int32 i = 0; i < Tile::kTileRows; i += kApart) {
      if constexpr (kApart % 8 == 0)
        body(first + i * Tile::kRowBytes, i);
      else
        body(first + (Tile::place(share.row + i, share.piece) - share.place()), i);
    }
  }
};

}  // namespace tilewise::cuda::sm80
