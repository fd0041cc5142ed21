// The simple kernel as the host knows it: which calls it takes, by which variant, and what it gets.
#pragma once

#include "backends/cuda/arguments.h"
#include "backends/cuda/kernels/simple/launch.h"
#include "plan/backend.h"

namespace tilewise::cuda {

// Grids have one dimension.
inline constexpr int64 kMostBlocks = 1 << 30;

// The head dims that it is compiled for. Others are filled up with zeros to the next one.
inline constexpr int kSimpleDims[] = {32, 64, 96, 128};

// One of its variants; the number of the dim is its place in kSimpleDims.
struct SimpleChoice {
  bool is_bfloat16 = false;
  int dim_number = 0;
};

// What it lacks for a call, in a word or two; null where it can run it.
const char* why_not_simple(const Problem& problem);

// Of a call that it can run.
SimpleChoice simple_choice(const Problem& problem);

// `processors`: how many multiprocessors share the tiles.
simple::Forward simple_forward_of(const Problem& problem, core::uint32* error, int processors);

}  // namespace tilewise::cuda
