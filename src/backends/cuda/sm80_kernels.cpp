#include "backends/cuda/sm80_kernels.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace tilewise::cuda {
namespace {

constexpr int64 kPieceBytes = 16;

// In a dimension of size 1 the stride may be anything; 0 replaces it.
int64 step(int64 size, int64 stride) {
  return size > 1 ? stride : 0;
}

// Whether the row stride in bytes fits into 32 bits.
bool is_near(const View& view) {
  const int64 elements = std::abs(step(view.size.row, view.stride.row));
  return elements <= sm80::kMostStride / core::bytes_of(view.dtype);
}

// Whether a bias or mask can be copied in pieces: as has_pieces says, but with any number of
// columns. The columns must be contiguous, and the row stride must be small enough.
bool is_read_in_pieces(const View& view) {
  const tilewise::Axes& size = view.size;
  return size.column > 1 && view.stride.column == 1 && is_near(view) &&
         has_pieces(view, kPieceBytes);
}

// Whether each block of a block mask holds whole tiles of keys, and whole warps of queries.
bool hold_tiles(const tilewise::Mask& mask) {
  constexpr int64 kMostRowsOfWarp = 32, kMostKeys = 64;
  return mask.block_query % kMostRowsOfWarp == 0 && mask.block_key % kMostKeys == 0;
}

bool is_positive_and_usual(double number) {
  return number > 1e-20 && number < 1e20;
}

const char* missing_type(const Problem& p) {
  const DType type = p.query.dtype;
  if (type != DType::kFloat16 && type != DType::kBFloat16) return name_of(type);
  if (p.key.dtype != type || p.value.dtype != type) return "keys of another type";
  return p.lse && p.lse.dtype != DType::kFloat32 ? "an lse that is not float32" : nullptr;
}

const char* missing_feature(const Problem& p) {
  // Outside of these limits 1 - 2 / (1 + e^2y) loses too much of a small score.
  constexpr double kMostCap = 256, kLeastCap = 1e-3;
  const double cap = p.scores.softcap;
  if (cap > 0 && (cap > kMostCap || cap < kLeastCap)) return "a softcap far from 1";
  if (!(std::fabs(p.scores.scale) < 1e20)) return "a scale far from 1";
  // The numbers of a Philox draw lie within an aligned block of 16 queries by 32 keys.
  const int64* base = p.dropout.base;
  if (p.dropout.decide.active() && (base[2] % 16 != 0 || base[3] % 32 != 0))
    return "dropout that begins inside of a draw";
  return p.scaling.query || p.scaling.key || p.scaling.value ? "factors of FP8" : nullptr;
}

const char* missing_size(const Problem& p) {
  constexpr int64 kMostDim = 256;
  const tilewise::Shape& s = p.shape;
  if (std::max(s.dim, s.value_dim) > kMostDim) return "a head dim above 256";
  if (!is_near(p.key) || !is_near(p.value) || !is_near(p.output)) return "rows so far apart";
  const double heads = static_cast<double>(s.batch) * static_cast<double>(s.heads);
  constexpr int kLeastRows = 32, kMostSplits = 64;
  const double tiles = std::ceil(static_cast<double>(s.queries) / kLeastRows);
  const bool fits = s.queries <= sm80::kMostLength && s.keys <= sm80::kMostLength &&
                    s.queries * s.heads / s.key_heads <= sm80::kMostLength &&
                    p.key.size.batch <= sm80::kMostLength &&
                    heads * std::max(tiles, 1.0) * kMostSplits < static_cast<double>(kMostBlocks);
  return fits ? nullptr : "so many rows";
}

bool are_in_pieces(const Problem& p) {
  return has_pieces(p.query, p.shape.dim) && has_pieces(p.key, p.shape.dim) &&
         has_pieces(p.value, p.shape.value_dim) &&
         (p.output.dtype != p.query.dtype || has_pieces(p.output, p.shape.value_dim));
}

// With few queries, one head would leave most of a tile empty. Then all query heads of a key head
// share a tile, and keys and values are read once for all of them. Features other than scale,
// softcap and sinks forbid sharing.
int heads_in_tile(const Problem& p) {
  constexpr int64 kFewQueries = 32;
  using namespace score;
  const core::uint32 by_head = asked_of(p) & ~(kAnyScale | kSoftcap | kSinks);
  return by_head == 0 && p.shape.queries <= kFewQueries ? static_cast<int>(p.shape.group()) : 1;
}

// What requires the general variant, whatever the alignment of rows.
const char* feature_of_general(const Problem& problem) {
  using namespace score;
  const core::uint32 asked = asked_of(problem);
  const struct {
    core::uint32 feature;
    const char* name;
  } names[] = {{kSoftcap, "softcap"},      {kAlibi, "ALiBi"},       {kBias, "bias"},
               {kVisible, "boolean mask"}, {kBlocks, "block mask"}, {kDropout, "dropout"},
               {kAnyScale, "such a scale"}};
  for (const auto& each : names)
    if ((asked & each.feature) != 0) return each.name;
  return problem.keys.paged() ? "pages" : nullptr;
}

// Short variants serve calls with few rows. They also serve calls with few keys, if the head dim
// nearly fills the tiles: then more blocks per multiprocessor gain more than large tiles.
bool is_enough(const sm80::Size& size, const Problem& problem, int64 dim, int64 rows) {
  constexpr int64 kFewRows = 64;
  if (dim > size.dim || !is_short(size.kind)) return dim <= size.dim;
  const bool has_few_keys = problem.shape.keys <= size.few_keys && dim * 4 > size.dim * 3;
  return has_few_keys || rows <= std::min<int64>(size.rows, kFewRows);
}

// The first variant of the kind that is large enough; -1 if there is none.
int number_of(const Problem& problem, sm80::Kind kind, int64 rows) {
  const int64 dim = std::max(problem.shape.dim, problem.shape.value_dim);
  const auto* found =
      std::find_if(std::begin(sm80::kTable), std::end(sm80::kTable), [&](const sm80::Size& size) {
        return size.kind == kind && is_enough(size, problem, dim, rows);
      });
  return found == std::end(sm80::kTable) ? -1 : static_cast<int>(found - std::begin(sm80::kTable));
}

int number_for(const Problem& problem, bool is_general, int64 rows) {
  using sm80::Kind;
  const int number = number_of(problem, is_general ? Kind::kShortGeneral : Kind::kShort, rows);
  if (number >= 0) return number;
  return number_of(problem, is_general ? Kind::kGeneral : Kind::kCommon, rows);
}

// As many splits as fill the multiprocessors, if tiles of queries alone do not. Each split has at
// least kLeastKeys keys. A plan may be made before pointers are known, so this assumes the variant
// for rows of whole pieces, whatever the alignment turns out to be.
int splits_for(const Problem& p, int heads_in_tile, int processors) {
  constexpr int64 kLeastKeys = 128, kMostSplits = 64;
  const int64 rows = p.shape.queries * heads_in_tile;
  const sm80::Size& size = sm80::kTable[number_for(p, feature_of_general(p) != nullptr, rows)];
  const int64 tiles =
      p.shape.batch * (p.shape.heads / heads_in_tile) * core::ceil_div(rows, size.rows);
  const int64 room = int64{processors} * size.blocks / std::max(tiles, int64{1});
  const int64 most = p.shape.keys / kLeastKeys;
  return static_cast<int>(std::clamp(std::min(room, most), int64{1}, kMostSplits));
}

bool sees_all(const tilewise::Mask& mask) {
  return mask.left >= core::kUnlimited && mask.right >= core::kUnlimited && mask.chunk == 0;
}

// With all keys visible, tiles take equally long, and heads follow each other, so that the cache
// keeps a head's keys. Otherwise heads are launched in bunches of about four tiles per
// multiprocessor, in which the longest tiles of all heads come first. Bunches have about equal
// sizes: in a small last one, multiprocessors would idle while its long tiles run.
int32 heads_together(const Problem& p, const Sm80Forward& choice, int processors) {
  if (sees_all(p.mask)) return 1;
  const int64 rows = p.shape.queries * choice.heads_in_tile;
  const auto tiles = static_cast<double>(core::ceil_div(rows, choice.size().rows));
  const double wanted = std::max(std::round(4 * processors / (tiles + 1)), 1.0);
  const int64 heads = p.shape.batch * p.shape.heads / choice.heads_in_tile;
  const double bunches = std::max(std::round(static_cast<double>(heads) / wanted), 1.0);
  return static_cast<int32>(core::ceil_div(std::max(heads, int64{1}), static_cast<int64>(bunches)));
}

// For divisors from 1 to 2^30. With no tasks the result is unused.
sm80::Divisor divisor_of(int64 by) {
  int shift = 0;
  while ((int64{1} << shift) < by) ++shift;
  const int64 rounded_down = (int64{1} << (31 + shift)) / std::max(by, int64{1});
  return {static_cast<int32>(by), static_cast<core::uint32>(rounded_down + 1), shift};
}

// Whether all sequences of a side are existing batch rows, as long as the longest.
bool is_dense(const Side& side, int64 batch) {
  const bool has_tables =
      side.packed() || side.paged() || side.used || side.start || side.batch_index;
  return !has_tables && side.rows <= side.longest && batch <= side.extent.batches;
}

sm80::Prepared prepared_of(const Problem& p, const Sm80Forward& choice, const sm80::Forward& call) {
  const int64 heads = p.shape.heads / choice.heads_in_tile, together = call.heads_together;
  const int64 tiles = query_tiles(call, choice.size().rows);
  return {.is_dense = is_dense(call.queries, p.shape.batch) && is_dense(call.keys, p.shape.batch),
          .sees_all = sees_all(p.mask),
          .tiles = static_cast<int32>(tiles),
          .all_heads = static_cast<int32>(p.shape.batch * heads),
          .splits = divisor_of(choice.splits),
          .heads_in_tile = divisor_of(choice.heads_in_tile),
          .heads_together = divisor_of(together),
          .tiles_together = divisor_of(tiles * together),
          .heads = divisor_of(heads),
          .group = divisor_of(p.shape.group())};
}

// How the softmax turns its input into units of log2. Without features that shape scores its input
// is the products q.k, so the factor contains the scale; with them it is scores in these units.
score::Measure measure_of(double scale, core::uint32 asked) {
  if ((asked & score::kShaping) != 0) return {1, score::kMostScore};
  constexpr auto kLargest = static_cast<double>(core::largest<float>());
  const double limit = std::min(kLargest, kLargest / 2 / scale);
  return {static_cast<float>(scale * core::log2e<double>()), static_cast<float>(limit)};
}

}  // namespace

bool has_pieces(const View& view, int64 columns) {
  const tilewise::Axes &size = view.size, &stride = view.stride;
  const int64 bytes = core::bytes_of(view.dtype);
  const int64 steps[] = {step(size.batch, stride.batch), step(size.head, stride.head),
                         step(size.row, stride.row), columns};
  if (size.batch == 0 || size.head == 0 || size.row == 0) return true;
  const auto is_whole = [bytes](int64 each) { return each * bytes % kPieceBytes == 0; };
  return reinterpret_cast<std::uintptr_t>(view.data) % kPieceBytes == 0 &&
         std::all_of(std::begin(steps), std::end(steps), is_whole);
}

core::uint32 asked_of(const Problem& p) {
  using namespace score;
  const bool has_pieces_of_bias =
      p.scores.bias.dtype == p.query.dtype && is_read_in_pieces(p.scores.bias);
  const struct {
    core::uint32 feature;
    bool is_asked;
  } features[] = {{kAnyScale, !is_positive_and_usual(p.scores.scale)},
                  {kSoftcap, p.scores.softcap > 0},
                  {kAlibi, static_cast<bool>(p.scores.slopes)},
                  {kBias, static_cast<bool>(p.scores.bias)},
                  {kBiasPieces, p.scores.bias && has_pieces_of_bias},
                  {kVisible, static_cast<bool>(p.mask.visible)},
                  {kVisiblePieces, p.mask.visible && is_read_in_pieces(p.mask.visible)},
                  {kBlocks, static_cast<bool>(p.mask.blocks)},
                  {kBlocksOfTiles, p.mask.blocks && hold_tiles(p.mask)},
                  {kDropout, p.dropout.decide.active()},
                  {kSinks, static_cast<bool>(p.scores.sinks)}};
  core::uint32 asked = 0;
  for (const auto& feature : features)
    if (feature.is_asked) asked |= feature.feature;
  return asked;
}

sm80::Rows rows_of(const View& view, int64 columns) {
  const int64 bytes = core::bytes_of(view.dtype);
  const tilewise::Axes &size = view.size, &stride = view.stride;
  return {.data = reinterpret_cast<uint8*>(view.data),
          .batch = step(size.batch, stride.batch) * bytes,
          .head = step(size.head, stride.head) * bytes,
          .row = step(size.row, stride.row) * bytes,
          .bytes = static_cast<int32>(columns * bytes),
          .in_pieces = has_pieces(view, columns)};
}

score::Scoring scoring_of(const Problem& p, const Attention& attention) {
  const core::uint32 asked = asked_of(p);
  const double factor = p.scores.scale * core::log2e<double>(), cap = p.scores.softcap;
  return {.measure = measure_of(p.scores.scale, asked),
          .factor = static_cast<float>(factor),
          .cap_in = cap > 0 ? static_cast<float>(2 * factor / cap) : 0.0f,
          .cap_out = static_cast<float>(cap * core::log2e<double>()),
          .slopes = attention.scores.slopes,
          .bias = attention.scores.bias,
          .sinks = attention.scores.sinks,
          .mask = attention.mask,
          .dropout = attention.dropout,
          .asked = asked};
}

const char* why_no_tensor_cores(const Problem& problem) {
  if (const char* type = missing_type(problem)) return type;
  if (const char* feature = missing_feature(problem)) return feature;
  return missing_size(problem);
}

const char* why_not_sm80_forward(const Problem& problem) {
  return problem.operation == TW_PROBABILITIES ? "probabilities" : why_no_tensor_cores(problem);
}

const char* why_general(const Problem& problem) {
  if (const char* feature = feature_of_general(problem)) return feature;
  return are_in_pieces(problem) ? nullptr : "rows that are no whole pieces of 16 bytes";
}

Sm80Forward sm80_forward(const Problem& problem, int processors, int architecture) {
  const int together = heads_in_tile(problem);
  const int64 rows = problem.shape.queries * together;
  const int splits = splits_for(problem, together, processors);
  const bool is_general = why_general(problem) != nullptr;
  const bool leaves_sinks =
      problem.scores.sinks && !is_general && architecture >= sm80::kSinksMerged;
  return {.is_bfloat16 = problem.query.dtype == DType::kBFloat16,
          .number = number_for(problem, is_general, rows),
          .splits = splits,
          .heads_in_tile = together,
          .merges = splits > 1 || leaves_sinks || problem.output.dtype != problem.query.dtype};
}

bool sm80_featured(const Problem& problem, const Sm80Forward& choice, int shared_bytes,
                   Featured& out) {
  const int64 dim = std::max(problem.shape.dim, problem.shape.value_dim);
  const core::uint32 set = featured_set(asked_of(problem));
  if (set == 0 || choice.size().kind != sm80::Kind::kGeneral || problem.keys.paged() ||
      !are_in_pieces(problem))
    return false;
  for (int number = sm80::kVariantsOfForward; number < sm80::kRowsOfForward; ++number) {
    out = {FeaturedFamily::kForward, choice.is_bfloat16, number, set};
    if (dim <= sm80::kTable[number].dim &&
        shared_bytes_of(out) <= std::min(shared_bytes, kMostFeaturedBytes))
      return true;
  }
  return false;
}

sm80::Splits splits_of(const Problem& problem, const Sm80Forward& choice, Arena& arena) {
  sm80::Splits splits{choice.splits, nullptr, nullptr, tensor_of(problem.output)};
  if (!choice.merges) return splits;
  const tilewise::Shape& s = problem.shape;
  const int64 rows = s.batch * s.heads * s.queries * choice.splits;
  splits.output = arena.take<float>(rows * s.value_dim);
  splits.rows = arena.take<core::Row<float>>(rows);
  return splits;
}

sm80::Forward sm80_arguments_of(const Problem& p, const Sm80Forward& choice, core::uint32* error,
                                int processors) {
  const Attention attention = attention_of(p, error);
  sm80::Forward call{.prepared = {},
                     .shape = attention.shape,
                     .queries = attention.queries,
                     .keys = attention.keys,
                     .query = rows_of(p.query, p.shape.dim),
                     .key = rows_of(p.key, p.shape.dim),
                     .value = rows_of(p.value, p.shape.value_dim),
                     .output = rows_of(p.output, p.shape.value_dim),
                     .lse = attention.lse,
                     .scoring = scoring_of(p, attention),
                     .splits = {1, nullptr, nullptr, attention.output},
                     .heads_in_tile = choice.heads_in_tile,
                     .heads_together = heads_together(p, choice, processors),
                     .error = error};
  call.prepared = prepared_of(p, choice, call);
  return call;
}

}  // namespace tilewise::cuda
