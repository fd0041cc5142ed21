// Checks of rotary embeddings: the tables, and the positions of rows in them.
#pragma once

#include "problem/sequences.h"

namespace tilewise {

Status check_rotation(Call& call, const tw_rotation* rotation, Rotation& tables);

// The names of a rotation's tensors in sentences.
struct RotaryNames {
  const SideNames& side;
  const char *input, *output, *positions;
};

struct RotaryTensors {
  const tw_tensor &input, &output;
  const tw_sequences* sequences;
};

// Checks input and output, and fills side, input, output, batch, heads and dim. check_rotation
// checks the tables, and check_positions the positions.
Status check_rotated(Call& call, const RotaryTensors& tensors, const RotaryNames& names,
                     RotaryProblem& problem);

// Refuses tables wider than a head, and a row whose position is not in the tables. `positions`, if
// it is given, has an entry for each sequence.
Status check_positions(const RotaryProblem& problem, const RotaryNames& names);

}  // namespace tilewise
