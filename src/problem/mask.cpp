// The band, the boolean mask and the block mask.
#include "problem/features.h"

namespace tilewise {
namespace {

Status check_distance(const char* name, int64 distance) {
  if (-kFarthest <= distance && distance <= kFarthest) return {};
  return invalid("mask.%s is %lld: it must be from -2^40 to 2^40.", name, distance);
}

Status check_limit(const char* name, core::int32 has, int64 limit) {
  if (has == 0 && limit != 0) {
    return invalid("mask.%s is %lld but mask.has_%s is 0: set that to 1, or %s to 0.", name, limit,
                   name, name);
  }
  return check_distance(name, limit);
}

Status check_band(const tw_mask& given, Mask& mask) {
  TW_TRY(check_flag(given.has_left, "mask.has_left"));
  TW_TRY(check_flag(given.has_right, "mask.has_right"));
  TW_TRY(check_limit("left", given.has_left, given.left));
  TW_TRY(check_limit("right", given.has_right, given.right));
  if (given.has_left) mask.left = given.left;
  if (given.has_right) mask.right = given.right;

  if (given.diagonal < TW_BOTTOM_RIGHT || given.diagonal > TW_SHIFTED) {
    return invalid(
        "mask.diagonal is %d: it must be TW_BOTTOM_RIGHT (0), TW_TOP_LEFT (1) or "
        "TW_SHIFTED (2).",
        given.diagonal);
  }
  mask.diagonal = static_cast<tw_diagonal>(given.diagonal);
  if (given.shift != 0 && mask.diagonal != TW_SHIFTED) {
    return invalid(
        "mask.shift is %lld but mask.diagonal is not TW_SHIFTED: set the diagonal, or "
        "shift to 0.",
        int64{given.shift});
  }
  TW_TRY(check_distance("shift", given.shift));
  if (given.chunk < 0 || given.chunk > kFarthest) {
    return invalid("mask.chunk is %lld: it must be from 0 (none) to 2^40.", int64{given.chunk});
  }
  mask.shift = given.shift;
  mask.chunk = given.chunk;
  return {};
}

Status check_block_size(const char* name, core::int32 size, bool wanted) {
  if (!wanted && size != 0) {
    return invalid("mask.%s is %d but mask.blocks is absent: give the blocks, or set it to 0.",
                   name, size);
  }
  if (wanted && (size <= 0 || size % 16 != 0)) {
    return invalid("mask.%s is %d: it must be a positive multiple of 16.", name, size);
  }
  return {};
}

Status check_blocks(Call& call, const tw_mask& given, Problem& problem) {
  Mask& mask = problem.mask;
  const Form form{"mask.blocks", kBlockPairs, Types::kBool};
  TW_TRY(call.input(given.blocks, form, mask.blocks));
  const bool wanted = static_cast<bool>(mask.blocks);
  TW_TRY(check_block_size("block_query", given.block_query, wanted));
  TW_TRY(check_block_size("block_key", given.block_key, wanted));
  mask.block_query = given.block_query;
  mask.block_key = given.block_key;
  if (!wanted) return {};

  // Batch and head may be broadcast, the rows and columns of blocks may not.
  Wanted blocks = wanted_pairs(problem);
  blocks.ones = false;
  blocks.size.row = core::ceil_div(blocks.size.row, mask.block_query);
  blocks.size.column = core::ceil_div(blocks.size.column, mask.block_key);
  if (mask.blocks.size.batch == 1) blocks.size.batch = 1;
  if (mask.blocks.size.head == 1) blocks.size.head = 1;
  return check_shape(mask.blocks, form, blocks);
}

}  // namespace

Wanted wanted_pairs(const Problem& problem) {
  const Side &queries = problem.queries, &keys = problem.keys;
  const bool cached = keys.paged() || keys.batch_index;
  Wanted wanted;
  wanted.ones = true;
  wanted.more_rows = queries.packed();
  wanted.more_columns = keys.packed() || cached;
  wanted.size = {problem.shape.batch, problem.shape.heads,
                 wanted.more_rows ? queries.longest : queries.rows,
                 wanted.more_columns ? keys.longest : keys.rows};
  return wanted;
}

Status check_mask(Call& call, const tw_mask* mask, Problem& problem) {
  Given<tw_mask> given;
  TW_TRY(given.read(mask, "mask", "tw_mask"));
  TW_TRY(check_band(*given, problem.mask));
  const Form form{"mask.visible", kScorePairs, Types::kBool};
  TW_TRY(call.input(given->visible, form, problem.mask.visible));
  if (problem.mask.visible) {
    TW_TRY(check_shape(problem.mask.visible, form, wanted_pairs(problem)));
  }
  return check_blocks(call, *given, problem);
}

}  // namespace tilewise
