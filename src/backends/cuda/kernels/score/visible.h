// The boolean mask. Each warp copies its part of the mask to shared memory ahead of use, packs the
// bytes to bits, and each lane picks the bits of its own scores. If a warp loaded the mask into
// registers ahead of use, the compiler would move the loads to the use, and the warp would stall.
#pragma once

#include "backends/cuda/device/bits.h"
#include "backends/cuda/device/copy.h"
#include "backends/cuda/kernels/score/hide.h"

namespace tilewise::cuda::score {

// The bytes of the mask for a warp's scores. Anything beyond `queries` and `keys` counts as hidden.
struct VisibleSource {
  const uint8* first;  // at the warp's first query and key
  int64 row, column;   // strides
  int32 queries, keys;
};

// Sets each byte of the result to 1 where the byte of `word` is not 0, else to 0.
TW_DEVICE uint32 nonzero_bytes(uint32 word) {
  return (((word & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | word) >> 7 & 0x01010101u;
}

// Collects four bytes that are 0 or 1 into the four lowest bits.
TW_DEVICE uint32 four_bits(uint32 bytes) {
  return bytes * 0x10204080u >> 28;
}

// A warp's part of the mask for one tile.
template <int32 queries, int32 keys>
struct VisibleTile {
  static constexpr int32 kWords = keys / 32, kPiecesOfRow = keys / 16;
  static constexpr int32 kPieces = queries * kPiecesOfRow / kWarp;  // of a lane
  static_assert(queries * kPiecesOfRow % kWarp == 0);

  // Starts the copies of the lane's pieces. Rows must be contiguous and 16-byte aligned.
  TW_DEVICE void copy(const VisibleSource& from, int32 lane) {
    TW_UNROLL
    for (int32 n = 0; n < kPieces; ++n) {
      const int32 x = lane + kWarp * n, row = x / kPiecesOfRow, first = x % kPiecesOfRow * 16;
      const int32 left = row < from.queries ? core::larger(from.keys - first, 0) : 0;
      copy_part_later(shared_address(&bytes[x]), from.first + row * from.row + first,
                      core::smaller(left, 16));
    }
  }

  // Packs bytes to bits, once the lane's copies have arrived.
  TW_DEVICE void pack(int32 lane) {
    warp_barrier();
    TW_UNROLL
    for (int32 n = 0; n < kPieces; ++n) {
      const Piece& piece = bytes[lane + kWarp * n];
      uint32 packed = 0;
      TW_UNROLL
      for (int32 w = 0; w < 4; ++w) packed |= four_bits(nonzero_bytes(piece.words[w])) << (4 * w);
      bits[lane + kWarp * n] = static_cast<uint16>(packed);
    }
    warp_barrier();
  }

  // Replaces copy and pack for rows of any layout: reads byte by byte.
  TW_DEVICE void gather(const VisibleSource& from, int32 lane) {
    warp_barrier();
    TW_ROLLED
    for (int32 x = lane; x < kPieces * kWarp; x += kWarp) {
      const int32 row = x / kPiecesOfRow, first = x % kPiecesOfRow * 16;
      const int32 end = row < from.queries ? core::smaller(from.keys - first, 16) : 0;
      uint32 packed = 0;
      TW_ROLLED
      for (int32 i = 0; i < end; ++i)
        if (from.first[row * from.row + (first + i) * from.column] != 0) packed |= 1u << i;
      bits[x] = static_cast<uint16>(packed);
    }
    warp_barrier();
  }

  // The bits of one query and 32 keys, from key 32 * `number` on.
  TW_DEVICE uint32 word(int32 query, int32 number) const {
    const uint32 place = static_cast<uint32>(query * kWords + number) * 2;
    return bits[place] | uint32{bits[place + 1]} << 16;
  }

  struct alignas(16) Piece {
    uint32 words[4];
  };
  Piece bytes[kPieces * kWarp];
  alignas(4) uint16 bits[kPieces * kWarp];
};

// A lane's bits for a tile of 64 keys: one for each of its scores. Each word holds two of the
// lane's rows, 16 bits each. Bit 2 n + i is key i of the lane's two in piece n; the second row's
// bits begin at 16. VisibleBits<0> is for kernels that keep no bits.
template <int32 rows>
struct VisibleBits {
  uint32 word[rows / 2];
};
template <>
struct VisibleBits<0> {};

// A warp's part of the mask, like VisibleTile but with fewer instructions, for 64 keys and scores
// with queries down. A lane copies a quarter of each of its rows; the four lanes of a row exchange
// bits. The bits move to registers before the next tile overwrites the shared memory.
template <int32 queries>
struct VisiblePieces {
  static constexpr int32 kRows = queries / 8;  // of a lane
  static_assert(kRows % 2 == 0);
  struct alignas(16) Piece {
    uint32 words[4];
  };
  Piece piece[kRows][kWarp];

  // Starts the copies. If all rows are equal (row stride 0), the warp copies only one.
  TW_DEVICE void copy(const VisibleSource& from, int32 lane) {
    const int32 first = lane % 4 * 16,
                bytes = core::smaller(core::larger(from.keys - first, 0), 16);
    TW_UNROLL
    for (int32 r = 0; r < kRows; ++r) {
      const int32 row = r * 8 + lane / 4;
      if (from.row == 0 && (r > 0 || lane >= 4)) return;
      copy_part_later(shared_address(&piece[r][lane]), from.first + row * from.row + first,
                      row < from.queries ? bytes : 0);
    }
  }

  // Takes the lane's bits, once its copies have arrived. The shared memory is free afterwards.
  TW_DEVICE VisibleBits<kRows> take(bool rows_are_alike, int32 lane) const {
    VisibleBits<kRows> bits;
    if (rows_are_alike) warp_barrier();
    const Piece* const first = &piece[0][rows_are_alike ? lane % 4 : lane];
    const int32 step = rows_are_alike ? 0 : kWarp;
    TW_UNROLL
    for (int32 r = 0; r < kRows; r += 2) {
      const uint32 word = packed(first[r * step]) | packed(first[(r + 1) * step]) << 16;
      bits.word[r / 2] = kept(own_bits(word, lane));
    }
    if (rows_are_alike) warp_barrier();
    return bits;
  }

 private:
  // Transposes a 4 x 4 matrix of 4-bit groups over the four lanes of a row, for two rows at once:
  // each lane has a quarter of the row, and gets the bits of its own scores.
  TW_DEVICE static uint32 own_bits(uint32 word, int32 lane) {
    word = choose_bytes(word, shuffle(word, 2), (lane & 2) == 0 ? 0x6240u : 0x3715u);
    const uint32 other = shuffle(word, 1);
    const bool is_even = (lane & 1) == 0;
    const uint32 own = is_even ? 0x0F0F0F0Fu : 0xF0F0F0F0u;
    return (word & own) | ((is_even ? other << 4 : other >> 4) & ~own);
  }

  // Packs 16 keys to 16 bits in the order of the lanes: the four bits of lane 0 (two of each
  // 8-column piece), then those of lane 1, and so on.
  TW_DEVICE static uint32 packed(const Piece& from) {
    constexpr uint32 kFirst = 0x20100201u, kSecond = 0x80400804u;
    uint32 seen[4];  // 2^7 in each byte that is not 0
    TW_UNROLL
    for (int32 w = 0; w < 4; ++w) {
      const uint32 word = from.words[w];
      seen[w] = (((word & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | word) & 0x80808080u;
    }
    const uint32 low = add_byte_products(seen[2], kSecond, add_byte_products(seen[0], kFirst, 0));
    const uint32 high = add_byte_products(seen[3], kSecond, add_byte_products(seen[1], kFirst, 0));
    return low >> 7 | high << 1;
  }
};

// A warp's part of the mask, for scores with keys down: 32 keys by up to 32 queries. Each lane
// copies and packs the 32 keys of one query, and lanes exchange bits.
template <int32 queries>
struct VisibleColumns {
  static_assert(queries % 8 == 0 && queries <= kWarp);
  // Which of a lane's 32 bits are used.
  static constexpr uint32 kAll = ((1u << queries / 4) - 1) * 0x01010101u;
  struct alignas(16) Piece {
    uint32 words[4];
  };
  Piece piece[2][queries];

  // Starts the copies. If all rows are equal (row stride 0), the warp copies only one.
  TW_DEVICE void copy(const VisibleSource& from, int32 lane) {
    if (lane >= (from.row == 0 ? 1 : queries)) return;
    TW_UNROLL
    for (int32 n = 0; n < 2; ++n) {
      const int32 left = lane < from.queries ? core::larger(from.keys - 16 * n, 0) : 0;
      copy_part_later(shared_address(&piece[n][lane]), from.first + lane * from.row + 16 * n,
                      core::smaller(left, 16));
    }
  }

  // Takes the lane's bits, once the copies of all lanes have arrived. Bit 8 j + k belongs to the
  // lane's k-th query (in column order) and to the key that is 8 j after the lane's first.
  TW_DEVICE uint32 take(bool rows_are_alike, int32 lane) const {
    const int32 row = rows_are_alike ? 0 : lane % queries, first = lane / 4;
    const uint32 word = packed(piece[0][row]) | packed(piece[1][row]) << 16;
    if (rows_are_alike) return (word >> first & 0x01010101u) * ((1u << queries / 4) - 1);
    uint32 own = 0;
    TW_UNROLL
    for (int32 k = 0; k < queries / 4; ++k) {
      const uint32 other = brought_by(k / 2 * 8 + 2 * (lane & 3) + k % 2, word);
      own |= (other >> first & 0x01010101u) << k;
    }
    return own;
  }

 private:
  // Packs 16 keys to 16 bits.
  TW_DEVICE static uint32 packed(const Piece& from) {
    uint32 seen[4];  // 2^7 in each byte that is not 0
    TW_UNROLL
    for (int32 w = 0; w < 4; ++w) {
      const uint32 word = from.words[w];
      seen[w] = (((word & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | word) & 0x80808080u;
    }
    constexpr uint32 kFirst = 0x08040201u, kSecond = 0x80402010u;
    const uint32 low = add_byte_products(seen[1], kSecond, add_byte_products(seen[0], kFirst, 0));
    const uint32 high = add_byte_products(seen[3], kSecond, add_byte_products(seen[2], kFirst, 0));
    return low >> 7 | high << 1;
  }
};

// Hides the lane's scores whose bit of VisibleColumns is 0.
template <class Tile, class Scores>
TW_DEVICE void hide_unseen_columns(uint32 own, Scores& scores) {
  if (!warp_any(own != Tile::kAll)) return;
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i)
      if ((own & 1u << (8 * (2 * m + i / 2) + 2 * n + i % 2)) == 0) hide(four[i]);
  });
}

// Whether the mask hides a score of any lane of the warp. Masks for padding and documents hide none
// in most tiles.
template <int32 rows>
TW_DEVICE bool hides_some(const VisibleBits<rows>& bits) {
  uint32 all = ~0u;
  TW_UNROLL
  for (const uint32 word : bits.word) all &= word;
  return warp_any(all != ~0u);
}

// Hides the lane's scores whose bit is 0.
template <int32 rows, class Scores>
TW_DEVICE void hide_unseen(const VisibleBits<rows>& bits, Scores& scores) {
  static_assert(rows == Scores::kRowsOfLane);
  for_each_row_of_lane<Scores>([&](int32 r) {
    scores.each_of_row(r, [&](float& score, int32 column) {
      const int32 place = column / 8 * 2 + column % 2 + r % 2 * 16;
      if ((bits.word[r / 2] & 1u << place) == 0) hide(score);
    });
  });
}

// Hides scores of the lane's row r by a word of 32 keys. Skips words that are all visible: with
// masks for padding and documents, most are.
template <class Scores>
TW_DEVICE void hide_word(uint32 word, int32 r, int32 number, int32 lane, Scores& scores) {
  if (!warp_any(word != ~0u)) return;
  word >>= 2 * (lane & 3);
  TW_UNROLL
  for (int32 j = 0; j < 8; ++j)
    if ((word & 1u << (j / 2 * 8 + j % 2)) == 0)
      hide(scores.at[r / 2][number * 4 + j / 2][r % 2 * 2 + j % 2]);
}

// Hides what a tile of the boolean mask hides.
template <class Tile, class Scores>
TW_DEVICE void hide_masked(const Tile& tile, int32 lane, Scores& scores) {
  for_each_row_of_lane<Scores>([&](int32 r) {
    TW_UNROLL
    for (int32 w = 0; w < Tile::kWords; ++w)
      hide_word(tile.word(r * 8 + lane / 4, w), r, w, lane, scores);
  });
}

// For scores with keys down: hides register i of piece (m, n) if bit 0 of `word` is 0, and the
// register 8 keys further down if bit 8 is 0.
template <class Scores>
TW_DEVICE void hide_pair(uint32 word, int32 m, int32 n, int32 i, Scores& scores) {
  if ((word & 1u) == 0) hide(scores.at[m][n][i]);
  if ((word & 1u << 8) == 0) hide(scores.at[m][n][2 + i]);
}

}  // namespace tilewise::cuda::score
