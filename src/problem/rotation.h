// Checks of rotary embeddings: tables, and the positions that rows take in them.
#pragma once

#include "problem/sequences.h"

namespace tilewise {

Status check_rotation(Call& call, const tw_rotation* rotation, Rotation& tables);

// How the parts of a rotation are spelled.
struct RotaryNames {
  const SideNames& side;
  const char *input, *output, *positions;
};

struct RotaryTensors {
  const tw_tensor &input, &output;
  const tw_sequences* sequences;
};

// Fills what is rotated: side, input, output, batch, heads and dim. Rotation and positions are read
// elsewhere, since an append shares them.
Status check_rotated(Call& call, const RotaryTensors& tensors, const RotaryNames& names,
                     RotaryProblem& problem);

// Every row of every sequence has a position in the tables; `positions` has a batch.
Status check_positions(const RotaryProblem& problem, const RotaryNames& names);

}  // namespace tilewise
