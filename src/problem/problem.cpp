#include "problem/problem.h"

#include "problem/tensor.h"

namespace tilewise {

View MergeProblem::part_output(int64 part) const {
  const tw_tensor& tensor = outputs[part];
  return view_of(tensor, tensor.rank == kPackedRows.rank ? kPackedRows : kDenseRows);
}

View MergeProblem::part_lse(int64 part) const {
  const tw_tensor& tensor = lses[part];
  return view_of(tensor, tensor.rank == kPackedLse.rank ? kPackedLse : kDenseLse);
}

}  // namespace tilewise
