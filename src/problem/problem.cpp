#include "problem/problem.h"

#include "core/wound.h"
#include "problem/tensor.h"

namespace tilewise {

core::Band Problem::band(int64 b) const {
  core::Band band;
  band.queries = queries.place(b).length;
  band.keys = keys.place(b).length;
  band.left = mask.left;
  band.right = mask.right;
  band.chunk = mask.chunk;
  if (mask.diagonal == TW_BOTTOM_RIGHT && !wounded(core::Wound::kTopLeftForBottomRight))
    band.diagonal = band.keys - band.queries;
  if (mask.diagonal == TW_SHIFTED) band.diagonal = mask.shift;
  return band;
}

core::BlockMask Problem::blocks(int64 b, int64 h) const {
  if (!mask.blocks.data) return {};
  if (wounded(core::Wound::kBlockHeadZero)) h = 0;
  const std::byte* first = mask.blocks.at(mask.blocks.offset(b, h, 0, 0));
  return {.present = reinterpret_cast<const core::uint8*>(first),
          .row_stride = mask.blocks.stride.row,
          .rows = mask.block_query,
          .columns = mask.block_key};
}

View MergeProblem::part_output(int64 part) const {
  const tw_tensor& tensor = outputs[part];
  return view_of(tensor, tensor.rank == kPackedRows.rank ? kPackedRows : kDenseRows);
}

View MergeProblem::part_lse(int64 part) const {
  const tw_tensor& tensor = lses[part];
  return view_of(tensor, tensor.rank == kPackedLse.rank ? kPackedLse : kDenseLse);
}

}  // namespace tilewise
