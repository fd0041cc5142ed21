// The host's view of the tensor-core kernels for forward: which calls they can run, which variant
// runs them, and with which arguments.
#pragma once

#include "backends/cuda/arguments.h"
#include "backends/cuda/featured.h"
#include "backends/cuda/kernels/sm80/launch.h"
#include "plan/backend.h"

namespace tilewise::cuda {

// The most blocks of a grid, which has one dimension; CUDA would allow 2^31 - 1.
inline constexpr int64 kMostBlocks = 1 << 30;

// A variant of forward: a row of the table, in a dtype.
struct Sm80Forward {
  bool is_bfloat16 = false;
  int number = 0;  // index in sm80::kTable
  int splits = 1, heads_in_tile = 1;
  // Whether a merge follows: for several splits, for sinks that the kernel leaves to it, or for an
  // output of another dtype.
  bool merges = false;
  core::uint32 features = 0;  // compiled in, if the row is a featured one

  const sm80::Size& size() const { return sm80::kTable[number]; }
};

// The merge of the splits.
struct Sm80Merge {};

// Whether every row is 16-byte aligned, and `columns` elements are whole 16-byte pieces.
bool has_pieces(const View& view, int64 columns);

// What a call asks of its scores, as bits of score::Feature.
core::uint32 asked_of(const Problem& problem);
score::Scoring scoring_of(const Problem& problem, const Attention& attention);

// The rows of a tensor that may be absent.
sm80::Rows rows_of(const View& view, int64 columns);

// Why the tensor-core kernels cannot run a call, in a few words; null if they can. The first
// function checks what forward and backward have in common.
const char* why_no_tensor_cores(const Problem& problem);
const char* why_not_sm80_forward(const Problem& problem);

// Why the call needs the general variant, in a word or two; null if the common one can run it.
const char* why_general(const Problem& problem);

// The variant for a call that tensor cores can run. `processors` is the number of multiprocessors;
// the architecture is 90 for 9.0.
Sm80Forward sm80_forward(const Problem& problem, int processors, int architecture);

// The featured kernel that can replace `choice`, with the same splits. Returns false if there is
// none, for example because nothing is asked, a short variant was chosen, rows are not whole
// pieces, or keys are paged. `shared_bytes` is what a block can have.
bool sm80_featured(const Problem& problem, const Sm80Forward& choice, int shared_bytes,
                   Featured& out);

// The workspace between splits and merge. An arena without memory only counts the bytes.
sm80::Splits splits_of(const Problem& problem, const Sm80Forward& choice, Arena& arena);

sm80::Forward sm80_arguments_of(const Problem& problem, const Sm80Forward& choice,
                                core::uint32* error, int processors);

}  // namespace tilewise::cuda
