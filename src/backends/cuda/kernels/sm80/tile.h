// Tiles of 16-bit elements in shared memory: how rows are copied in, and where lanes read
// fragments.
#pragma once

#include "backends/cuda/device/copy.h"
#include "backends/cuda/device/matrix.h"

namespace tilewise::cuda::sm80 {

inline constexpr int32 kPieceBytes = 16;

// A row is stored as 16-byte pieces, swizzled: the index of a piece is XORed with bits of the row's
// number. A warp accesses the same piece of eight rows at once, and so hits different banks. Rows
// are padded to a multiple of 32 elements, so that the swizzle stays within the row; a padded row
// has two places that no piece takes.
template <int32 rows, int32 columns>
struct Tile {
  static_assert(columns % 16 == 0);
  static constexpr int32 kTileRows = rows, kPieces = columns / 8;
  static constexpr int32 kRowBytes = (columns + 31) / 32 * 64, kBytes = rows * kRowBytes;
  // The swizzle permutes groups of eight pieces, or of four if a row is not a multiple of eight.
  static constexpr int32 kGroup = kRowBytes % 128 == 0 ? 8 : 4;

  // The byte offset of a piece in the tile.
  TW_DEVICE static int32 place(int32 row, int32 piece) {
    const int32 swizzle = kGroup == 8 ? row & 7 : row >> 1 & 3;
    return row * kRowBytes + (piece ^ swizzle) * kPieceBytes;
  }

  // Where a lane begins to read a 16 x 16 fragment: the address of its row in one of four 8 x 8
  // matrices. `down` orders the matrices column by column, `across` row by row. `down` serves left
  // operands stored as [m][k] and, transposed, right ones stored as [k][n]; `across` serves right
  // operands stored as [n][k] and, transposed, left ones stored as [k][m].
  TW_DEVICE static SharedAddress down(SharedAddress tile, int32 lane) {
    return tile + place(lane & 15, lane >> 4);
  }
  TW_DEVICE static SharedAddress across(SharedAddress tile, int32 lane) {
    return tile + place((lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
  }

  // The lane's address for the fragment `row` rows (a multiple of 16) further down and 16 * `step`
  // columns further right. Tiles are aligned, so that a swizzle is an XOR of the address.
  TW_DEVICE static SharedAddress moved(SharedAddress lane, int32 row, int32 step) {
    constexpr int32 kSteps = kGroup / 2;
    const SharedAddress inside = lane ^ (step % kSteps * 2 * kPieceBytes);
    return inside + (step / kSteps * kGroup * kPieceBytes + row * kRowBytes);
  }

  alignas(128) uint8 bytes[kBytes];
};

// An array that may be empty.
template <class Each, int32 count>
struct Several {
  Each at[count];
};
template <class Each>
struct Several<Each, 0> {};

// The rows that fill a tile. What lies beyond `rows` and `bytes` is filled with zeros.
struct Source {
  const uint8* first;
  int64 stride;  // of rows, in bytes
  int32 bytes;   // of a row
  int32 rows;    // below 1: none
};

TW_HD constexpr int32 power_of_two_within(int32 x) {
  return x < 2 ? 1 : 2 * power_of_two_within(x / 2);
}

// Fills a tile by `threads` threads. Each has one column of pieces, and every kApart-th row.
template <class Tile, int32 threads>
struct Loader {
  static constexpr int32 kMostApart = power_of_two_within(threads / Tile::kPieces);
  static constexpr int32 kApart = core::smaller(kMostApart, Tile::kTileRows);
  static_assert(Tile::kTileRows % kApart == 0);

  // A thread's share: its first row, and its column of pieces.
  struct Share {
    int32 row, piece;

    TW_DEVICE bool has_rows() const { return kApart * Tile::kPieces == threads || row < kApart; }
    // The offset in the tile of the thread's first piece.
    TW_DEVICE int32 place() const { return Tile::place(row, piece); }
    TW_DEVICE int32 bytes_before() const { return piece * kPieceBytes; }
  };

  TW_DEVICE static Share share_of(int32 thread) {
    const auto i = static_cast<uint32>(thread);
    return {static_cast<int32>(i / Tile::kPieces), static_cast<int32>(i % Tile::kPieces)};
  }

  // Copies rows at a constant stride, in whole pieces.
  TW_DEVICE static void load(SharedAddress tile, const Source& from) {
    const Share share = share_of(thread_index_anew());
    const uint8* at = from.first + (share.row * from.stride + share.bytes_before());
    load(tile + share.place(), share, at, from);
  }

  // Copies rows at a constant stride, if the caller has computed the addresses of the thread's
  // first piece in advance: `first` in the tile and `at` in global memory.
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

  // Copies rows of whole pieces that lie anywhere: row_at(i) is the address of row i, or null for a
  // row of zeros.
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

  // Copies rows of any alignment, element by element and synchronously; a barrier must follow.
  // `bytes_of_tile` is the tile's address.
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
  // Calls body(address in the tile, row relative to the thread's first) for each of the thread's
  // rows, the first of which is at `first`. If kApart is a multiple of eight, all rows of the
  // thread have the same swizzle, and their addresses differ by constants.
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
