#include "problem/sequences.h"

namespace tilewise {
namespace {

int64 value_at(const View& view, int64 b) {
  return index_at(view, b * view.stride.batch);
}

Status check_offsets(const SideNames& names, const Side& side) {
  const int64 batch = side.offsets.size.batch - 1;
  int64 before = value_at(side.offsets, 0);
  if (before < 0) {
    return invalid("%s[0] is %lld: offsets must not be negative.", names.offsets, before);
  }
  for (int64 b = 1; b <= batch; ++b) {
    const int64 here = value_at(side.offsets, b);
    if (here < before) {
      return invalid("%s[%lld] is %lld, below %s[%lld] which is %lld: offsets must never decrease.",
                     names.offsets, b, here, names.offsets, b - 1, before);
    }
    before = here;
  }
  if (before > side.rows) {
    return invalid("%s ends at %lld but %s has %lld tokens: the last offset must be at most that.",
                   names.offsets, before, names.tensor, side.rows);
  }
  return {};
}

Status check_length(const SideNames& names, int64 b, int64 rows, const Side& side) {
  const int64 used = side.used ? value_at(side.used, b) : rows;
  if (used < 0 || used > rows) {
    return invalid("%s[%lld] is %lld but sequence %lld has %lld rows: it must be from 0 to that.",
                   names.used, b, used, b, rows);
  }
  const int64 start = side.start ? value_at(side.start, b) : 0;
  if (start < 0 || start > used) {
    return invalid("%s[%lld] is %lld but rows up to %lld count: it must be from 0 to that.",
                   names.start, b, start, used);
  }
  if (used - start > side.longest) {
    return invalid("%s is %lld but sequence %lld has %lld rows: it must be at least the longest.",
                   names.max_length, side.longest, b, used - start);
  }
  return {};
}

Status unknown_lengths(const SideNames& names, const Side& side) {
  if (side.offsets.on_device)
    return invalid("%s is 0 and %s lies on the device: say how long a sequence is at most.",
                   names.max_length, names.offsets);
  return invalid("%s is 0 and %s has no data: give one of them, so that lengths are known.",
                 names.max_length, names.offsets);
}

int64 longest_of(const Side& side) {
  if (!side.packed()) return side.rows;
  int64 longest = 0;
  for (int64 b = 0; b + 1 < side.offsets.size.batch; ++b) {
    const int64 rows = value_at(side.offsets, b + 1) - value_at(side.offsets, b);
    longest = core::larger(longest, rows);
  }
  return longest;
}

}  // namespace

Status read_sequences(Call& call, const tw_sequences* sequences, const SideNames& names,
                      Side& side) {
  Given<tw_sequences> given;
  TW_TRY(given.read(sequences, names.side, "tw_sequences"));
  TW_TRY(call.input(given->offsets, {names.offsets, kOffsets, Types::kIndex}, side.offsets));
  TW_TRY(call.input(given->used, {names.used, kBatch, Types::kIndex}, side.used));
  TW_TRY(call.input(given->start, {names.start, kBatch, Types::kIndex}, side.start));
  side.longest = given->max_length;
  if (given->max_length < 0 || given->max_length >= kFarthest) {
    return invalid("%s is %lld: it must be from 0 (unknown) to below 2^40.", names.max_length,
                   int64{given->max_length});
  }
  if (side.packed() && side.offsets.size.batch == 0) {
    return invalid("%s is empty: it must have batch + 1 entries, at least one.", names.offsets);
  }
  return {};
}

Status place_sequences(const SideNames& names, int64 batch, Side& side) {
  const Wanted wanted{.size = {batch, 1, 1, 1}};
  if (side.used) TW_TRY(check_shape(side.used, {names.used, kBatch, Types::kIndex}, wanted));
  if (side.start) TW_TRY(check_shape(side.start, {names.start, kBatch, Types::kIndex}, wanted));

  const int64 max_length = side.longest;
  if (!readable(side.offsets) && max_length == 0) return unknown_lengths(names, side);
  if (side.packed() && readable(side.offsets)) TW_TRY(check_offsets(names, side));
  side.longest = max_length > 0 ? core::smaller(max_length, side.rows) : longest_of(side);
  if (!has_lengths(side)) return {};
  for (int64 b = 0; b < side.unlike(batch); ++b) {
    const int64 rows =
        side.packed() ? value_at(side.offsets, b + 1) - value_at(side.offsets, b) : side.rows;
    TW_TRY(check_length(names, b, rows, side));
  }
  return {};
}

}  // namespace tilewise
