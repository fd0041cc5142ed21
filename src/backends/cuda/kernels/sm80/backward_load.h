// How the rows of a tensor come into a tile, and pieces of rows anywhere.
#pragma once

#include "backends/cuda/kernels/element.h"
#include "backends/cuda/kernels/sm80/backward_launch.h"
#include "backends/cuda/kernels/sm80/tile.h"

namespace tilewise::cuda::sm80 {

// What 16 bytes hold.
struct alignas(kPieceBytes) EightElements {
  uint32 words[4];
};
struct alignas(kPieceBytes) FourNumbers {
  float at[4];
};

// A piece of a row. What lies beyond the row is 0.
TW_DEVICE EightElements piece_at(const Rows& from, const uint8* row, int32 piece) {
  const int32 first = piece * kPieceBytes;
  EightElements read{};
  if (first >= from.bytes) return read;
  if (from.in_pieces) return *reinterpret_cast<const EightElements*>(row + first);
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n)
    if (first + 2 * n < from.bytes)
      read.words[n / 2] |= uint32{raw<uint16>(row + first + 2 * n)} << n % 2 * 16;
  return read;
}

TW_DEVICE void put_piece(const Rows& to, uint8* row, int32 piece, const EightElements& from) {
  const int32 first = piece * kPieceBytes;
  if (first >= to.bytes) return;
  if (to.in_pieces) {
    *reinterpret_cast<EightElements*>(row + first) = from;
    return;
  }
  TW_UNROLL
  for (int32 n = 0; n < 8; ++n)
    if (first + 2 * n < to.bytes)
      *reinterpret_cast<uint16*>(row + first + 2 * n) =
          static_cast<uint16>(from.words[n / 2] >> n % 2 * 16);
}

// Fills a tile, by all threads: row 0 begins at `first`, and there are so many. A general kernel
// also takes rows that begin anywhere.
template <class Traits, class Tile>
TW_DEVICE void load_tile(Tile& tile, const Rows& from, const uint8* first, int32 rows) {
  using Load = Loader<Tile, Traits::kThreads>;
  if constexpr (Traits::kIsGeneral) {
    if (!from.in_pieces)
      return Load::load_elements(tile.bytes, from.bytes, [&](int32 i) {
        return i < rows ? first + i * from.row : nullptr;
      });
  }
  Load::load(shared_address(&tile), {first, from.row, from.bytes, rows});
}

}  // namespace tilewise::cuda::sm80
