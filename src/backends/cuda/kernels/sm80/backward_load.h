// Copies rows of a tensor into a tile, and loads and stores single pieces of rows.
#pragma once

#include "backends/cuda/kernels/element.h"
#include "backends/cuda/kernels/sm80/backward_launch.h"
#include "backends/cuda/kernels/sm80/tile.h"

namespace tilewise::cuda::sm80 {

// A piece (16 bytes) as elements of the inputs' type, and as floats.
struct alignas(kPieceBytes) EightElements {
  uint32 words[4];
};
struct alignas(kPieceBytes) FourNumbers {
  float at[4];
};

// Loads a piece of a row. Elements beyond the end of the row are 0.
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

// Stores a piece of a row, without the elements beyond the end of the row.
TW_DEVICE void store_piece(const Rows& to, uint8* row, int32 piece, const EightElements& from) {
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

// Starts the copy of `rows` rows into a tile; row 0 begins at `first`. Call it by all threads.
// General kernels also accept rows that are not aligned to pieces.
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
