// One tensor of a call: turns the caller's description into a checked View.
#pragma once

#include "problem/problem.h"

namespace tilewise {

// Which axis each dimension of a tensor is, and how a message spells the shape.
struct Layout {
  int32 rank;
  int64 Axes::*axis[4];
  const char* shape;
};

inline constexpr Layout kDenseRows{
    4, {&Axes::batch, &Axes::row, &Axes::head, &Axes::column}, "(batch, length, heads, dim)"};
inline constexpr Layout kPackedRows{
    3, {&Axes::row, &Axes::head, &Axes::column}, "packed (tokens, heads, dim)"};
inline constexpr Layout kPages{4,
                               {&Axes::batch, &Axes::row, &Axes::head, &Axes::column},
                               "paged (pages, page size, key heads, dim)"};
inline constexpr Layout kDenseLse{
    3, {&Axes::batch, &Axes::head, &Axes::row}, "(batch, heads, queries)"};
inline constexpr Layout kPackedLse{2, {&Axes::head, &Axes::row}, "packed (heads, tokens)"};
inline constexpr Layout kScorePairs{
    4, {&Axes::batch, &Axes::head, &Axes::row, &Axes::column}, "(batch, heads, queries, keys)"};
inline constexpr Layout kBlockPairs{4,
                                    {&Axes::batch, &Axes::head, &Axes::row, &Axes::column},
                                    "(batch, heads, query blocks, key blocks)"};
inline constexpr Layout kHeads{1, {&Axes::head}, "(heads)"};
inline constexpr Layout kBatchHeads{2, {&Axes::batch, &Axes::head}, "(batch, heads)"};
inline constexpr Layout kFactors{2, {&Axes::batch, &Axes::head}, "(batch, key heads)"};
inline constexpr Layout kBatch{1, {&Axes::batch}, "(batch)"};
inline constexpr Layout kOffsets{1, {&Axes::batch}, "(batch + 1)"};
inline constexpr Layout kPageTable{2, {&Axes::batch, &Axes::column}, "(batch, columns)"};
inline constexpr Layout kPositions{2, {&Axes::row, &Axes::column}, "(positions, columns)"};

// Where a call's memory lies, and whether the call has it at all.
struct Buffers {
  bool given = true;              // false: the call asks about shapes, pointers may be null
  bool on_device = false;         // the tensors are; the processor must not read them
  bool tables_on_device = false;  // offsets, lengths, starts, positions, indices and page tables
  // Of a device: whether a tensor that has elements lies where the call says.
  tw_device device{TW_CPU, 0};
  Status (*check_place)(const tw_device&, const char* name, const View&) = nullptr;
};

enum class Types { kFloat, kFloat32, kFloat32Or64, kBool, kIndex };

// What a tensor of a call must be. `name` is the header's.
struct Form {
  const char* name;
  const Layout& layout;
  Types types;
};

// The tensor as a View, without checks. Dimensions of one element get stride 0.
View view_of(const tw_tensor& tensor, const Layout& layout);

// Checks one tensor by itself and fills `view`. An absent tensor gives an absent view.
Status check_tensor(const tw_tensor& tensor, const Form& form, const Buffers& buffers, View& view);

// The size that a tensor must have. With `ones` any axis may have size 1 instead, which broadcasts
// it. With more_rows or more_columns the tensor may have more rows or columns than `size`.
struct Wanted {
  Axes size;
  bool ones = false;
  bool more_rows = false, more_columns = false;

  bool more(int64 Axes::*axis) const {
    return (axis == &Axes::row && more_rows) || (axis == &Axes::column && more_columns);
  }
};

Status check_shape(const View& view, const Form& form, const Wanted& wanted);

}  // namespace tilewise
