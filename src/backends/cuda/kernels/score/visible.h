// The boolean mask. A warp brings its own part of it to shared memory a tile ahead, packs that to
// bits, and picks the bits of its registers. (Held in registers, the mask is loaded by the compiler
// only where it is used, and the warp waits.)
#pragma once

#include "backends/cuda/device/bits.h"
#include "backends/cuda/device/copy.h"
#include "backends/cuda/kernels/score/hide.h"

namespace tilewise::cuda::score {

// The bytes of the mask for a warp's scores. What lies beyond counts as hidden.
struct VisibleSource {
  const uint8* first;  // of the warp's first query and key
  int64 row, column;   // strides
  int32 queries, keys;
};

// 1 in each byte of `word` that is not 0.
TW_DEVICE uint32 bytes_that_count(uint32 word) {
  return (((word & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | word) >> 7 & 0x01010101u;
}

// The four lowest bits: of the four bytes, which hold 0 or 1.
TW_DEVICE uint32 four_bits(uint32 bytes) {
  return bytes * 0x10204080u >> 28;
}

// Of a warp.
template <int32 queries, int32 keys>
struct VisibleTile {
  static constexpr int32 kWords = keys / 32, kPiecesOfRow = keys / 16;
  static constexpr int32 kPieces = queries * kPiecesOfRow / kWarp;  // of a lane
  static_assert(queries * kPiecesOfRow % kWarp == 0);

  // By a lane, its own pieces: rows lie in whole pieces of 16 bytes.
  TW_DEVICE void copy(const VisibleSource& from, int32 lane) {
    TW_UNROLL
    for (int32 n = 0; n < kPieces; ++n) {
      const int32 x = lane + kWarp * n, row = x / kPiecesOfRow, first = x % kPiecesOfRow * 16;
      const int32 left = row < from.queries ? core::larger(from.keys - first, 0) : 0;
      copy_part_later(shared_address(&bytes[x]), from.first + row * from.row + first,
                      core::smaller(left, 16));
    }
  }

  // When the lane's copies have landed.
  TW_DEVICE void pack(int32 lane) {
    warp_barrier();
    TW_UNROLL
    for (int32 n = 0; n < kPieces; ++n) {
      const Piece& piece = bytes[lane + kWarp * n];
      uint32 packed = 0;
      TW_UNROLL
      for (int32 w = 0; w < 4; ++w)
        packed |= four_bits(bytes_that_count(piece.words[w])) << (4 * w);
      bits[lane + kWarp * n] = static_cast<uint16>(packed);
    }
    warp_barrier();
  }

  // In place of both, from rows that lie anyhow.
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

  // Bits of 32 keys.
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

// What a lane holds of a tile of 64 keys for `rows` rows: a bit for each of its own scores, that of
// register 2 n + i of piece n, and of two rows each word. None where there is no mask.
template <int32 rows>
struct HeldVisible {
  uint32 word[rows / 2];
};
template <>
struct HeldVisible<0> {};

// The same tile by fewer instructions, for 64 keys and queries that lie down. A lane copies a piece
// of each row that it has a part of, which are the quarter of the row; four lanes have the whole,
// and exchange bits. They lie in shared memory until a tile has come, and in registers from then
// on, so that the next tile may come into the same place.
template <int32 queries>
struct VisiblePieces {
  static constexpr int32 kRows = queries / 8;  // of a lane
  static_assert(kRows % 2 == 0);
  struct alignas(16) Piece {
    uint32 words[4];
  };
  Piece piece[kRows][kWarp];

  // Rows that are all the same come once, for a warp: blocks of all heads want them at the same
  // time.
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

  // When the lane's copies have landed. Nothing of it is read later than here.
  TW_DEVICE HeldVisible<kRows> take(bool rows_are_alike, int32 lane) const {
    HeldVisible<kRows> held;
    if (rows_are_alike) warp_barrier();
    const Piece* const first = &piece[0][rows_are_alike ? lane % 4 : lane];
    const int32 step = rows_are_alike ? 0 : kWarp;
    TW_UNROLL
    for (int32 r = 0; r < kRows; r += 2) {
      const uint32 word = packed(first[r * step]) | packed(first[(r + 1) * step]) << 16;
      held.word[r / 2] = kept(own_bits(word, lane));
    }
    if (rows_are_alike) warp_barrier();
    return held;
  }

 private:
  // Four pieces of four groups of four bits become four groups of four pieces, of two rows.
  TW_DEVICE static uint32 own_bits(uint32 word, int32 lane) {
    word = choose_bytes(word, shuffle(word, 2), (lane & 2) == 0 ? 0x6240u : 0x3715u);
    const uint32 other = shuffle(word, 1);
    const bool is_even = (lane & 1) == 0;
    const uint32 own = is_even ? 0x0F0F0F0Fu : 0xF0F0F0F0u;
    return (word & own) | ((is_even ? other << 4 : other >> 4) & ~own);
  }

  // Of 16 keys. Four bits are those of a lane, two of each piece of 8 columns, and the lanes'
  // follow each other.
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

// A warp's part where keys lie down: 32 keys for up to 32 queries. A lane copies what one query
// sees, packs it to a word, and lanes exchange bits.
template <int32 queries>
struct VisibleColumns {
  static_assert(queries % 8 == 0 && queries <= kWarp);
  // Of a lane's bits, those that mean something.
  static constexpr uint32 kAll = ((1u << queries / 4) - 1) * 0x01010101u;
  struct alignas(16) Piece {
    uint32 words[4];
  };
  Piece piece[2][queries];

  // Rows that are all the same come once, for a warp.
  TW_DEVICE void copy(const VisibleSource& from, int32 lane) {
    if (lane >= (from.row == 0 ? 1 : queries)) return;
    TW_UNROLL
    for (int32 n = 0; n < 2; ++n) {
      const int32 left = lane < from.queries ? core::larger(from.keys - 16 * n, 0) : 0;
      copy_part_later(shared_address(&piece[n][lane]), from.first + lane * from.row + 16 * n,
                      core::smaller(left, 16));
    }
  }

  // When the copies of all lanes have landed: bit 8 j + k of a lane is that of its query k, counted
  // by columns, and of the key 8 j further than its first.
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
  // 16 bits of 16 keys.
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

// The scores of a lane that it does not see, by its bits of such a part.
template <class Tile, class Scores>
TW_DEVICE void hide_unseen_columns(uint32 own, Scores& scores) {
  if (!warp_any(own != Tile::kAll)) return;
  scores.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i)
      if ((own & 1u << (8 * (2 * m + i / 2) + 2 * n + i % 2)) == 0) hide(four[i]);
  });
}

// Whether some lane has a score that it does not see: most tiles have none, of masks for padding
// and documents.
template <int32 rows>
TW_DEVICE bool hides_some(const HeldVisible<rows>& held) {
  uint32 all = ~0u;
  TW_UNROLL
  for (const uint32 word : held.word) all &= word;
  return warp_any(all != ~0u);
}

// The scores of a lane that it does not see.
template <int32 rows, class Scores>
TW_DEVICE void hide_unseen(const HeldVisible<rows>& held, Scores& scores) {
  static_assert(rows == Scores::kRowsOfLane);
  for_each_row_of_lane<Scores>([&](int32 r) {
    scores.each_of_row(r, [&](float& score, int32 column) {
      const int32 place = column / 8 * 2 + column % 2 + r % 2 * 16;
      if ((held.word[r / 2] & 1u << place) == 0) hide(score);
    });
  });
}

// Of a word of 32 keys, those of row r of the lane. Words that are visible whole are left alone:
// most are, of masks for padding and documents.
template <class Scores>
TW_DEVICE void hide_word(uint32 word, int32 r, int32 number, int32 lane, Scores& scores) {
  if (!warp_any(word != ~0u)) return;
  word >>= 2 * (lane & 3);
  TW_UNROLL
  for (int32 j = 0; j < 8; ++j)
    if ((word & 1u << (j / 2 * 8 + j % 2)) == 0)
      hide(scores.at[r / 2][number * 4 + j / 2][r % 2 * 2 + j % 2]);
}

// Where keys lie down, those of piece (m, n) that a query does not see: register i of it, and the
// one 8 keys further. `word` begins at the lane's key.
template <class Scores>
TW_DEVICE void hide_pair(uint32 word, int32 m, int32 n, int32 i, Scores& scores) {
  if ((word & 1u) == 0) hide(scores.at[m][n][i]);
  if ((word & 1u << 8) == 0) hide(scores.at[m][n][2 + i]);
}

template <Lie lie, class Tile, class Scores>
TW_DEVICE void hide_masked(const Tile& tile, int32 lane, Scores& scores) {
  if constexpr (lie == Lie::kQueriesDown) {
    for_each_row_of_lane<Scores>([&](int32 r) {
      TW_UNROLL
      for (int32 w = 0; w < Tile::kWords; ++w)
        hide_word(tile.word(r * 8 + lane / 4, w), r, w, lane, scores);
    });
  } else {
    scores.each_piece([&](float(&)[4], int32 m, int32 n) {
      TW_UNROLL
      for (int32 i = 0; i < 2; ++i) {
        const uint32 word = tile.word(n * 8 + 2 * (lane & 3) + i, m / 2);
        hide_pair(word >> (lane / 4 + m % 2 * 16), m, n, i, scores);
      }
    });
  }
}

}  // namespace tilewise::cuda::score
