#include "backends/cuda/simple_kernel.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace tilewise::cuda {
namespace {

constexpr int64 kPieceBytes = 16, kPieceElements = 8;

// What a tensor has one of is found without its stride, which may be anything.
int64 step(int64 size, int64 stride) {
  return size > 1 ? stride : 0;
}

// Whether rows can be copied in pieces of 16 bytes, and addressed as the kernel does. Where there
// are none, nothing is.
bool has_pieces(const View& view) {
  const tilewise::Axes &size = view.size, &stride = view.stride;
  const int64 steps[] = {step(size.batch, stride.batch), step(size.head, stride.head),
                         step(size.row, stride.row)};
  if (size.batch == 0 || size.head == 0 || size.row == 0) return true;
  const auto is_whole = [](int64 each) { return each % kPieceElements == 0; };
  const int64 most = simple::kMostRowStride / core::bytes_of(view.dtype);
  return reinterpret_cast<std::uintptr_t>(view.data) % kPieceBytes == 0 && stride.column == 1 &&
         std::all_of(std::begin(steps), std::end(steps), is_whole) &&
         core::absolute(steps[2]) <= most;
}

const char* missing_feature(const Problem& p) {
  const struct {
    const char* name;
    bool is_asked;
  } features[] = {{"softcap", p.scores.softcap > 0},
                  {"ALiBi", static_cast<bool>(p.scores.slopes)},
                  {"bias", static_cast<bool>(p.scores.bias)},
                  {"sinks", static_cast<bool>(p.scores.sinks)},
                  {"boolean mask", static_cast<bool>(p.mask.visible)},
                  {"block mask", static_cast<bool>(p.mask.blocks)},
                  {"dropout", p.dropout.decide.active()},
                  {"pages", p.keys.paged()},
                  {"factors of FP8", p.scaling.query || p.scaling.key || p.scaling.value}};
  for (const auto& feature : features)
    if (feature.is_asked) return feature.name;
  return nullptr;
}

const char* missing_type(const Problem& p) {
  const DType type = p.query.dtype;
  if (type != DType::kFloat16 && type != DType::kBFloat16) return name_of(type);
  if (p.key.dtype != type || p.value.dtype != type || p.output.dtype != type)
    return "an output of another type";
  return p.lse && p.lse.dtype != DType::kFloat32 ? "an lse that is not float32" : nullptr;
}

bool has_usual_scale(double scale) {
  return scale > 1e-20 && scale < 1e20;
}

const char* missing_size(const Problem& p) {
  const tilewise::Shape& s = p.shape;
  constexpr int kLargest = kSimpleDims[std::size(kSimpleDims) - 1];
  if (s.dim > kLargest || s.value_dim > kLargest) return "a head dim above 128";
  if (s.dim % kPieceElements != 0 || s.value_dim % kPieceElements != 0)
    return "a head dim that is no multiple of 8";
  const View* const all[] = {&p.query, &p.key, &p.value, &p.output};
  if (!std::all_of(std::begin(all), std::end(all), [](const View* v) { return has_pieces(*v); }))
    return "rows that do not begin at 16 bytes";
  const double heads = static_cast<double>(s.batch) * static_cast<double>(s.heads);
  const double tiles = static_cast<double>(core::ceil_div(s.queries, simple::kRows));
  const bool fits = s.queries <= simple::kMostLength && s.keys <= simple::kMostLength &&
                    heads * std::max(tiles, 1.0) < static_cast<double>(kMostBlocks);
  return fits ? nullptr : "so many rows";
}

simple::Rows rows_of(const View& view, int64 columns) {
  const int64 bytes = core::bytes_of(view.dtype);
  const tilewise::Axes &size = view.size, &stride = view.stride;
  return {reinterpret_cast<uint8*>(view.data), step(size.batch, stride.batch) * bytes,
          step(size.head, stride.head) * bytes,
          static_cast<int32>(step(size.row, stride.row) * bytes),
          static_cast<int32>(columns * bytes)};
}

simple::Measure measure_of(double scale) {
  constexpr auto kLargest = static_cast<double>(core::largest<float>());
  const double limit = std::min(kLargest, kLargest / 2 / scale);
  return {static_cast<float>(scale * core::log2e<double>()), static_cast<float>(limit)};
}

// With all keys visible every tile takes as long, and a head's tiles find its keys in the cache.
// Otherwise so many heads go together that four tiles a multiprocessor are under way: the long ones
// of all of them come first.
int32 heads_together(const Problem& p, int processors) {
  const bool is_full =
      p.mask.left >= core::kUnlimited && p.mask.right >= core::kUnlimited && p.mask.chunk == 0;
  if (is_full) return 1;
  const auto tiles = static_cast<double>(core::ceil_div(p.shape.queries, simple::kRows));
  const double wanted = std::round(4 * processors / (tiles + 1));
  const int64 most = std::min(static_cast<int64>(wanted), p.shape.batch * p.shape.heads);
  return static_cast<int32>(std::max(most, int64{1}));
}

}  // namespace

const char* why_not_simple(const Problem& problem) {
  if (problem.operation == TW_BACKWARD) return "backward";
  if (problem.operation == TW_PROBABILITIES) return "probabilities";
  if (const char* type = missing_type(problem)) return type;
  if (const char* feature = missing_feature(problem)) return feature;
  if (!has_usual_scale(problem.scores.scale)) return "a scale that is not positive, or far from 1";
  return missing_size(problem);
}

SimpleChoice simple_choice(const Problem& problem) {
  const int64 dim = std::max(problem.shape.dim, problem.shape.value_dim);
  const auto* found = std::lower_bound(std::begin(kSimpleDims), std::end(kSimpleDims), dim);
  return {problem.query.dtype == DType::kBFloat16,
          static_cast<int>(found - std::begin(kSimpleDims))};
}

simple::Forward simple_forward_of(const Problem& p, core::uint32* error, int processors) {
  const Attention attention = attention_of(p, error);
  return {.shape = attention.shape,
          .queries = attention.queries,
          .keys = attention.keys,
          .query = rows_of(p.query, p.shape.dim),
          .key = rows_of(p.key, p.shape.dim),
          .value = rows_of(p.value, p.shape.value_dim),
          .output = rows_of(p.output, p.shape.value_dim),
          .lse = attention.lse,
          .mask = attention.mask,
          .measure = measure_of(p.scores.scale),
          .heads_together = heads_together(p, processors),
          .error = error};
}

}  // namespace tilewise::cuda
