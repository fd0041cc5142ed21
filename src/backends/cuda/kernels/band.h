// Makes core's band of one sequence from the call's mask.
#pragma once

#include "backends/cuda/device/thread.h"
#include "backends/cuda/kernels/attention.h"

namespace tilewise::cuda {

TW_DEVICE core::Band band_of(const Mask& mask, int64 queries, int64 keys) {
  int64 diagonal = mask.shift;
  if (mask.diagonal == Diagonal::kBottomRight) diagonal = keys - queries;
  if (mask.diagonal == Diagonal::kTopLeft) diagonal = 0;
  return {queries, keys, mask.left, mask.right, diagonal, mask.chunk};
}

TW_DEVICE core::Range tile_range(int64 index, int64 tile, int64 length) {
  return {index * tile, core::smaller((index + 1) * tile, length)};
}

}  // namespace tilewise::cuda
