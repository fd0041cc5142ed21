// The epilogues of a block's sums: the gradients of its keys and values are stored, those of
// queries are added to the workspace.
#pragma once

#include "backends/cuda/device/order.h"
#include "backends/cuda/kernels/sm80/backward_traits.h"

namespace tilewise::cuda::sm80 {

// Adds the four numbers of a piece to sums in SumOrder, atomically. `first` is the thread's place
// in piece 0.
template <class Traits>
TW_DEVICE void add_in_order(float* first, int32 piece, const float (&four)[4]) {
  const SumOrder order{Traits::kThreads, adds_four()};
  if (order.four) {
    add_four_to(first + order.place(piece, 0, 0), four);
  } else {
    TW_UNROLL
    for (int32 i = 0; i < 4; ++i) add_to(first + order.place(piece, 0, i), four[i]);
  }
}

// Adds part `part` of a warp's query gradients to the sums of a tile.
template <class Traits>
TW_DEVICE void add_query_gradient(float* tile, int32 part, typename Traits::QuerySums& sums) {
  const SumOrder order{Traits::kThreads, adds_four()};
  float* first = tile + order.place(part * Traits::QuerySums::kAcross, thread_index(), 0);
  sums.each_piece([&](float(&four)[4], int32 m, int32 n) {
    add_in_order<Traits>(first, m * Traits::kQueryParts * Traits::QuerySums::kAcross + n, four);
  });
}

// Multiplies a warp's key gradients by `factor` and rounds them into a tile in shared memory.
template <class Traits>
TW_DEVICE void round_into(typename Traits::KeyTile& tile, typename Traits::KeySums& sums,
                          float factor) {
  constexpr BackwardShape kTiles = Traits::kTiles;
  const int32 warp = Traits::thread() / kWarp, lane = Traits::thread() % kWarp;
  const int32 first_row = warp / kTiles.query_warps * Traits::kKeysOfWarp + lane / 4;
  const int32 first_piece = warp % kTiles.query_warps * Traits::KeySums::kAcross;
  sums.each_piece([&](float(&four)[4], int32 m, int32 n) {
    TW_UNROLL
    for (int32 half = 0; half < 2; ++half) {
      const int32 row = first_row + m * 16 + half * 8;
      const int32 place = Traits::KeyTile::place(row, first_piece + n) + lane % 4 * 4;
      *reinterpret_cast<uint32*>(tile.bytes + place) =
          pair_of<Traits::kType>(four[2 * half] * factor, four[2 * half + 1] * factor);
    }
  });
}

// Stores a tile of gradients in coalesced pieces.
template <class Traits>
TW_DEVICE void store_rows(const Rows& to, const KeyBlock& block,
                          const typename Traits::KeyTile& tile) {
  using KeyTile = typename Traits::KeyTile;
  if (!to.data) return;
  const auto rows = static_cast<int32>(block.columns.size());
  const int64 first = block.keys.first + block.columns.begin;
  TW_ROLLED
  for (int32 n = Traits::thread(); n < rows * KeyTile::kPieces; n += Traits::kThreads) {
    const int32 row = n / KeyTile::kPieces, piece = n % KeyTile::kPieces;
    store_piece(to, to.at(block.keys.batch, block.key_head, first + row), piece,
                *reinterpret_cast<const EightElements*>(tile.bytes + KeyTile::place(row, piece)));
  }
}

// Stores the gradients of keys and values through their tiles in shared memory, which no thread may
// still be reading. Call it by all threads.
template <class Traits>
TW_DEVICE void store_key_gradients(const Backward& p, typename Traits::Memory& memory,
                                   typename Traits::KeySums& of_key,
                                   typename Traits::KeySums& of_value) {
  round_into<Traits>(memory.key, of_key, p.factors.scale);
  round_into<Traits>(memory.value, of_value, p.factors.keep);
  block_barrier();
  store_rows<Traits>(p.out.key, memory.block, memory.key);
  store_rows<Traits>(p.out.value, memory.block, memory.value);
}

}  // namespace tilewise::cuda::sm80
