#include "backends/cuda/sm80_backward.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "backends/cuda/plain_kernels.h"

namespace tilewise::cuda {
namespace {

using sm80::BackwardShape;
using sm80::kBackwardRows;

using sm80::BackwardKind;

// The index of the first shape of a kind that is as wide as the head, fits into a block's shared
// memory and, if the call has ALiBi and the kind is masked, has loads_mask; -1 if there is none.
int find_of_kind(const Problem& p, BackwardKind kind, int shared_bytes) {
  const int64 dim = std::max(p.shape.dim, p.shape.value_dim);
  const auto takes_alibi = [&](const BackwardShape& tiles) {
    return kind != BackwardKind::kMasked || tiles.loads_mask || !p.scores.slopes;
  };
  const auto* found =
      std::find_if(std::begin(sm80::kBackwardShapes), std::end(sm80::kBackwardShapes),
                   [&](const BackwardShape& tiles) {
                     return tiles.kind == kind && takes_alibi(tiles) && dim <= tiles.dim &&
                            tiles.shared_kib * 1024 <= shared_bytes;
                   });
  const auto number = static_cast<int>(found - std::begin(sm80::kBackwardShapes));
  return number < sm80::kRowsOfBackward ? number : -1;
}

// The features that common kernels do not have, and their names, in the order in which
// why_not_common_backward looks for them.
constexpr struct {
  core::uint32 feature;
  const char* name;
} kNames[] = {{score::kSoftcap, "softcap"},
              {score::kAlibi, "ALiBi"},
              {score::kBias, "bias"},
              {score::kAnyScale, "such a scale"},
              {score::kVisible, "boolean mask"},
              {score::kBlocks, "block mask"},
              {score::kDropout, "dropout"}};
constexpr core::uint32 kMasks = score::kVisible | score::kBlocks | score::kDropout;

core::uint32 named_features(const Problem& p) {
  core::uint32 all = 0;
  for (const auto& each : kNames) all |= each.feature;
  return asked_of(p) & all;
}

// The index of the shape for a call, or -1. `in_pieces` says whether rows are whole pieces of 16
// bytes.
int find_shape(const Problem& p, bool in_pieces, int shared_bytes) {
  const core::uint32 asked = named_features(p);
  // Of these variants only general ones compute the gradient of slopes.
  const core::uint32 masked = p.gradients.slopes ? kMasks : kMasks | score::kAlibi;
  int number = -1;
  if (in_pieces && (asked & ~masked) == 0)
    number =
        find_of_kind(p, asked == 0 ? BackwardKind::kCommon : BackwardKind::kMasked, shared_bytes);
  if (number >= 0 || (in_pieces && asked == 0)) return number;
  return find_of_kind(p, BackwardKind::kGeneral, shared_bytes);
}

// The features of a call, including the gradients of bias and slopes.
core::uint32 asked_of_backward(const Problem& p) {
  core::uint32 asked = asked_of(p);
  if (p.gradients.bias) asked |= score::kBiasGradient;
  if (p.gradients.slopes) asked |= score::kSlopesGradient;
  return asked;
}

score::Scoring scoring_of_backward(const Problem& p, const Attention& attention) {
  score::Scoring scoring = scoring_of(p, attention);
  scoring.asked = asked_of_backward(p);
  return scoring;
}

bool is_full(const Problem& p) {
  return p.mask.left >= core::kUnlimited && p.mask.right >= core::kUnlimited && p.mask.chunk == 0;
}

// Whether the grid has so few blocks that each should have a multiprocessor to itself: at most one
// per multiprocessor. With a band at most three: blocks then differ in length, and of two that
// share a multiprocessor the longer would run on alone.
bool is_small_grid(const Problem& p, const BackwardShape& tiles, int processors) {
  const int64 blocks =
      p.shape.batch * p.shape.key_heads * core::ceil_div(p.shape.keys, int64{tiles.keys});
  return blocks <= (is_full(p) ? 1 : 3) * int64{processors};
}

// The index of the short shape for a call that a common variant can run, or -1. It is the first
// with room for the sequence. A block takes two tiles of keys only if the grid then still fills the
// GPU.
int find_short(const Problem& p, int shared_bytes, int processors) {
  const tilewise::Shape& s = p.shape;
  const auto* found =
      std::find_if(std::begin(sm80::kBackwardShapes), std::end(sm80::kBackwardShapes),
                   [&](const BackwardShape& tiles) {
                     return tiles.kind == BackwardKind::kShort && s.queries <= 2 * tiles.keys &&
                            s.keys <= (tiles.takes_two_tiles() ? 2 : 1) * tiles.keys &&
                            std::max(s.dim, s.value_dim) <= tiles.dim;
                   });
  if (found == std::end(sm80::kBackwardShapes)) return -1;
  const BackwardShape& tiles = *found;
  const bool fills = s.batch * s.key_heads >= int64{processors} * tiles.blocks;
  const bool serves = tiles.shared_kib * 1024 <= shared_bytes && (s.keys <= tiles.keys || fills);
  return serves ? static_cast<int>(found - std::begin(sm80::kBackwardShapes)) : -1;
}

// Whether all rows are whole pieces of 16 bytes, those of the boolean mask included.
bool are_in_pieces(const Problem& p) {
  const core::uint32 mask = asked_of(p) & (score::kVisible | score::kVisiblePieces);
  if (mask == score::kVisible) return false;
  const tilewise::Shape& s = p.shape;
  return has_pieces(p.query, s.dim) && has_pieces(p.key, s.dim) &&
         has_pieces(p.value, s.value_dim) && has_pieces(p.gradients.output, s.value_dim);
}

const char* missing_gradient_type(const Problem& p) {
  if (p.output.dtype != p.query.dtype) return "an output of another type";
  const tilewise::Gradients& gradients = p.gradients;
  for (const View* each : {&gradients.output, &gradients.query, &gradients.key, &gradients.value})
    if (*each && each->dtype != p.query.dtype) return "a gradient of another type";
  return nullptr;
}

bool is_broadcast(const View& bias, const tilewise::Shape& shape) {
  const tilewise::Axes& size = bias.size;
  return size.batch < shape.batch || size.head < shape.heads || size.row < shape.queries ||
         size.column < shape.keys;
}

// Whether each kernel's grid has fewer than kMostBlocks blocks. The number is computed in double,
// because it may overflow an integer.
bool fits_grid(const Problem& p) {
  constexpr int kLeastRows = 32;
  const tilewise::Shape& s = p.shape;
  const double heads = static_cast<double>(s.batch) * static_cast<double>(s.heads);
  const double rows = static_cast<double>(std::max(s.queries, s.keys));
  return heads * (rows / kLeastRows + 1) < static_cast<double>(kMostBlocks);
}

// Workspace rows of one head, for all sequences; see padded_first of the kernels.
int64 padded_rows(const Problem& p) {
  if (p.queries.packed())
    return (p.query.size.row / kBackwardRows + p.shape.batch + 1) * kBackwardRows;
  return p.shape.batch * core::round_up(p.shape.queries, kBackwardRows);
}

// The workspace of a call. An arena without memory only counts the bytes.
sm80::Workspace workspace_of(const Problem& p, const BackwardShape& tiles, Arena& arena) {
  const tilewise::Shape& s = p.shape;
  const tilewise::Gradients& wanted = p.gradients;
  const tilewise::Axes& bias = wanted.bias.size;
  const int64 heads = s.batch * s.heads, rows = padded_rows(p);
  const auto tiles_of = [](int64 length, int64 tile) { return core::ceil_div(length, tile); };
  sm80::Workspace workspace{};
  const bool is_short = tiles.kind == BackwardKind::kShort;
  if (wanted.sinks)
    workspace.sinks =
        arena.take<float>(heads * (is_short ? 1 : tiles_of(s.queries, kBackwardRows)));
  if (is_short) {
    if (s.keys > tiles.keys)
      workspace.query =
          arena.take<float>(heads * tiles_of(s.queries, tiles.queries) * tiles.queries * tiles.dim);
    return workspace;
  }
  workspace.padded_rows = rows;
  workspace.lse = arena.take<float>(s.heads * rows);
  workspace.minus_delta = arena.take<float>(s.heads * rows);
  workspace.apart = arena.take<float>(s.heads * rows);
  workspace.tiles = arena.take<sm80::TileNumbers>(s.heads * rows / kBackwardRows);
  workspace.query = arena.take<float>(s.heads * rows * tiles.dim);
  if (wanted.slopes)
    workspace.slopes = arena.take<float>(heads * tiles_of(s.keys, tiles.keys) * tiles.warps());
  if (p.deterministic && wanted.query)
    workspace.turns = arena.take<int32>(heads * tiles_of(s.queries, tiles.queries));
  if (!wanted.bias) return workspace;
  workspace.bias_in_tiles = tiles.kind == BackwardKind::kFeatured;
  const Axes size{bias.batch, bias.head, bias.row, bias.column};
  const sm80::BiasTiles of_bias = sm80::bias_tiles(size, tiles);
  const int64 of_column = workspace.bias_in_tiles ? int64{tiles.queries} * tiles.keys : 1;
  const int64 of_row = of_column * (workspace.bias_in_tiles ? of_bias.across : bias.column);
  const int64 of_head = of_row * (workspace.bias_in_tiles ? of_bias.down : bias.row);
  const int64 of_batch = of_head * bias.head;
  workspace.bias = arena.take<float>(core::round_up(of_batch * bias.batch, int64{4}));
  workspace.bias_stride = {bias.batch > 1 ? of_batch : 0, bias.head > 1 ? of_head : 0,
                           bias.row > 1 ? of_row : 0, bias.column > 1 ? of_column : 0};
  return workspace;
}

// How many heads' tiles are interleaved, as in forward. In backward, the first tiles of keys of a
// head have the most work under a causal mask.
int32 heads_together(const Problem& p, const BackwardShape& tiles, int processors) {
  const auto count = static_cast<double>(core::ceil_div(p.shape.keys, int64{tiles.keys}));
  double wanted = std::round(4 * processors / (count + 1));
  // With a window only the last tiles of a head have less to do, and together they fill the end.
  if (p.mask.left < p.shape.keys) wanted = std::max(wanted, 8.0);
  if (is_full(p)) wanted = 1;
  // Blocks that start at the same time and add to the same rows in turns wait for each other at the
  // start. So heads are interleaved until only a few blocks of each start at once.
  if (p.deterministic && p.gradients.query) wanted = std::round(processors / 4.0);
  const int64 heads = p.shape.batch * p.shape.key_heads;
  return static_cast<int32>(std::max(std::min(static_cast<int64>(wanted), heads), int64{1}));
}

sm80::BackwardOutputs outputs_of(const Problem& p, const Gradients& gradients) {
  const tilewise::Gradients& wanted = p.gradients;
  return {.query = rows_of(wanted.query, p.shape.dim),
          .key = rows_of(wanted.key, p.shape.dim),
          .value = rows_of(wanted.value, p.shape.value_dim),
          .bias = gradients.bias,
          .slopes = gradients.slopes,
          .sinks = gradients.sinks,
          .bias_size = gradients.bias_size,
          .slopes_batch = gradients.slopes_batch};
}

}  // namespace

BackwardLack why_not_sm80_backward(const Problem& p, int shared_bytes) {
  if (const char* lacks = why_no_tensor_cores(p)) return {lacks};
  if (const char* type = missing_gradient_type(p)) return {type};
  if (p.keys.paged()) return {"backward with pages"};
  if (p.deterministic && p.gradients.bias && is_broadcast(p.gradients.bias, p.shape))
    return {"a bias's gradient that is summed, always in the same order"};
  if (!fits_grid(p)) return {"so many rows"};
  if (find_shape(p, are_in_pieces(p), shared_bytes) >= 0) return {};
  return {"a head dim above 128 with features, in what memory a block of this GPU has", true};
}

const char* why_not_common_backward(const Problem& p) {
  for (const auto& each : kNames)
    if ((named_features(p) & each.feature) != 0) return each.name;
  return are_in_pieces(p) ? nullptr : "rows that are no whole pieces of 16 bytes";
}

Sm80Backward sm80_backward(const Problem& p, int shared_bytes, int processors) {
  Sm80Backward choice{.step = BackwardStep::kTiles,
                      .is_bfloat16 = p.query.dtype == DType::kBFloat16,
                      .number = find_shape(p, are_in_pieces(p), shared_bytes)};
  const BackwardShape& tiles = choice.tiles();
  if (tiles.kind != BackwardKind::kCommon) return choice;
  if (const int found = find_short(p, shared_bytes, processors); found >= 0) {
    choice.number = found;
    return choice;
  }
  const int few = find_of_kind(p, BackwardKind::kFew, shared_bytes);
  // The kernel for few blocks must be as wide, so that the workspace is the same.
  if (few >= 0 && sm80::kBackwardShapes[few].dim == tiles.dim &&
      is_small_grid(p, tiles, processors))
    choice.number = few;
  return choice;
}

namespace {

constexpr int64 kMostPadding = int64{4} << 20;  // in float32: 16 MiB

// Whether the bias's gradient, if it is wanted, may be summed in tiles: the bias has a column for
// each key, and padding makes the tiles larger than the gradient by at most half, or by
// kMostPadding if that is more.
bool is_bias_for_tiles(const Problem& p, const BackwardShape& tiles) {
  if (!p.gradients.bias) return true;
  const auto& bias = p.gradients.bias.size;
  const Axes size{bias.batch, bias.head, bias.row, bias.column};
  const int64 copy = sm80::bias_count(size);
  const int64 in_tiles = sm80::bias_tiles(size, tiles).count() * tiles.queries * tiles.keys;
  const int64 most = copy + std::max(copy / 2, kMostPadding);
  return bias.column >= p.shape.keys && in_tiles <= most;
}

}  // namespace

bool sm80_featured_backward(const Problem& p, int shared_bytes, Featured& out) {
  const int64 dim = std::max(p.shape.dim, p.shape.value_dim);
  const core::uint32 set = featured_set(asked_of_backward(p), FeaturedFamily::kBackward);
  if (set == 0 || !are_in_pieces(p)) return false;
  for (int number = sm80::kVariantsOfBackward; number < sm80::kRowsOfBackward; ++number) {
    out = {FeaturedFamily::kBackward, p.query.dtype == DType::kBFloat16, number, set};
    const BackwardShape& tiles = sm80::kBackwardShapes[number];
    if (dim <= tiles.dim &&
        shared_bytes_of(out) <= std::min(shared_bytes, most_bytes_of(out.family)))
      return is_bias_for_tiles(p, tiles);
  }
  return false;
}

int64 sm80_backward_workspace(const Problem& p, int shared_bytes) {
  int64 most = 0;
  const auto count = [&](int number) {
    Arena arena(nullptr);
    if (number >= 0) workspace_of(p, sm80::kBackwardShapes[number], arena);
    most = std::max(most, number >= 0 ? kAlignmentRoom + arena.used() : plain_workspace(&p));
  };
  for (const bool in_pieces : {false, true}) count(find_shape(p, in_pieces, shared_bytes));
  if (const int found = find_short(p, shared_bytes, 0); found >= 0) count(found);
  // The featured kernel is counted, although it will not be used if pointers turn out to be
  // unaligned.
  Featured featured;
  if (sm80_featured_backward(p, shared_bytes, featured)) count(featured.number);
  return most;
}

sm80::Backward sm80_backward_arguments(const Problem& p, const Sm80Backward& choice,
                                       const BackwardRoom& room) {
  const Attention attention = attention_of(p, room.error);
  const Gradients gradients = gradients_of(p);
  Arena arena(room.workspace ? aligned(room.workspace) : nullptr);
  return {.shape = attention.shape,
          .queries = attention.queries,
          .keys = attention.keys,
          .in = {.query = rows_of(p.query, p.shape.dim),
                 .key = rows_of(p.key, p.shape.dim),
                 .value = rows_of(p.value, p.shape.value_dim),
                 .output = rows_of(p.output, p.shape.value_dim),
                 .incoming = rows_of(p.gradients.output, p.shape.value_dim),
                 .lse = attention.lse,
                 .incoming_lse = gradients.lse},
          .out = outputs_of(p, gradients),
          .workspace = workspace_of(p, choice.tiles(), arena),
          .scoring = scoring_of_backward(p, attention),
          .factors = {static_cast<float>(p.scores.scale),
                      static_cast<float>(p.dropout.decide.active() ? p.dropout.decide.scale() : 1)},
          .plan = {heads_together(p, choice.tiles(), room.processors),
                   p.scores.bias && p.scores.bias.size.batch < p.shape.batch, choice.tiles()},
          .error = room.error};
}

}  // namespace tilewise::cuda
