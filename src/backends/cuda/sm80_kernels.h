// The kernels for tensor cores as the host knows them: which calls they take, by which variant, and
// what they get.
#pragma once

#include "backends/cuda/arguments.h"
#include "backends/cuda/featured.h"
#include "backends/cuda/kernels/sm80/launch.h"
#include "plan/backend.h"

namespace tilewise::cuda {

// Grids have one dimension.
inline constexpr int64 kMostBlocks = 1 << 30;

// Forward, by a variant: a row of the table, in a type.
struct Sm80Forward {
  bool is_bfloat16 = false;
  int number = 0;  // of sm80::kTable
  int splits = 1, heads_in_tile = 1;
  // Splits leave what a merge writes; so does one, where the output is of another type.
  bool merges = false;
  core::uint32 features = 0;  // that are compiled in, where the row is one with features

  const sm80::Size& size() const { return sm80::kTable[number]; }
};

// The merge of what they left.
struct Sm80Merge {};

// Whether every row, of so many columns, begins at 16 bytes and is whole pieces of as many.
bool has_pieces(const View& view, int64 columns);

// What a call asks of its scores: bits of score::Feature.
core::uint32 asked_of(const Problem& problem);
score::Scoring scoring_of(const Problem& problem, const Attention& attention);

// Of a tensor that may be absent.
sm80::Rows rows_of(const View& view, int64 columns);

// What they lack for a call, in a few words; null where they can run it. The first is of forward
// and backward alike.
const char* why_no_tensor_cores(const Problem& problem);
const char* why_not_sm80_forward(const Problem& problem);

// What needs the general variant, in a word or two; null where the common one serves.
const char* why_general(const Problem& problem);

// Of a call that they can run. `processors`: how many multiprocessors share the tiles. The
// architecture is 90 for 9.0.
Sm80Forward sm80_forward(const Problem& problem, int processors, int architecture);

// The kernel that has what the call asks compiled in, in place of `choice`, with the same splits;
// false where there is none: nothing is asked, tiles are short, rows lie anyhow or in pages.
// `shared_bytes`: what a block can have.
bool sm80_featured(const Problem& problem, const Sm80Forward& choice, int shared_bytes,
                   Featured& out);

// What splits leave for the merge; without memory it is only counted.
sm80::Splits splits_of(const Problem& problem, const Sm80Forward& choice, Arena& arena);

sm80::Forward sm80_arguments_of(const Problem& problem, const Sm80Forward& choice,
                                core::uint32* error, int processors);

}  // namespace tilewise::cuda
