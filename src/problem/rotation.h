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

// Checks input and output, and fills side, input, output, batch, heads and dim. The tables and the
// positions are left to check_rotation and check_positions.
Status check_rotated(Call& call, const RotaryTensors& tensors, const RotaryNames& names,
                     RotaryProblem& problem);

// Refuses tables with more than dim / 2 columns, and a row whose position is not in the tables.
// Positions on a device are not checked. If problem.positions is given, it must have an entry for
// each sequence; the caller checks that.
Status check_positions(const RotaryProblem& problem, const RotaryNames& names);

}  // namespace tilewise
