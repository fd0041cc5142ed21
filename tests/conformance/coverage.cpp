// The list of features. Two features of one group need not meet in a case: most exclude each other.
#include "conformance/coverage.h"

#include <algorithm>

namespace tilewise::conformance {
namespace {

struct Feature {
  const char* name;
  int group;  // 0: meets everything
  bool (*present)(const Case&);
};

enum Group { kFree, kQueries, kKeys, kBand, kDiagonal, kScale, kDtype };

bool has_length(const SideCase& side, std::int64_t length) {
  for (std::size_t b = 0; b < side.end.size(); ++b) {
    if (side.end[b] - side.start[b] == length) return true;
  }
  return false;
}

bool any(const std::array<bool, 4>& flags) {
  return std::any_of(flags.begin(), flags.end(), [](bool each) { return each; });
}

bool has_scale(const Case& drawn, double sign) {
  if (!drawn.scores.has_scale) return false;
  return drawn.scores.scale * sign > 0 || (sign == 0 && drawn.scores.scale == 0);
}

const Feature kFeatures[] = {
    {"dense queries", kQueries, [](const Case& c) { return c.queries.storage == Storage::kDense; }},
    {"packed queries", kQueries,
     [](const Case& c) { return c.queries.storage == Storage::kPacked; }},
    {"used queries", kFree, [](const Case& c) { return c.queries.has_used; }},
    {"started queries", kFree, [](const Case& c) { return c.queries.has_start; }},
    {"a sequence without queries", kFree, [](const Case& c) { return has_length(c.queries, 0); }},
    {"a sequence of one query", kFree, [](const Case& c) { return has_length(c.queries, 1); }},
    {"dense keys", kKeys, [](const Case& c) { return c.keys.storage == Storage::kDense; }},
    {"packed keys", kKeys, [](const Case& c) { return c.keys.storage == Storage::kPacked; }},
    {"paged keys", kKeys, [](const Case& c) { return c.keys.storage == Storage::kPaged; }},
    {"indexed keys", kKeys, [](const Case& c) { return c.keys.storage == Storage::kIndexed; }},
    {"used keys", kFree, [](const Case& c) { return c.keys.has_used; }},
    {"started keys", kFree, [](const Case& c) { return c.keys.has_start; }},
    {"a sequence without keys", kFree, [](const Case& c) { return has_length(c.keys, 0); }},
    {"a sequence of one key", kFree, [](const Case& c) { return has_length(c.keys, 1); }},
    {"grouped heads", kFree, [](const Case& c) { return c.heads > c.key_heads; }},
    {"values of another dim", kFree, [](const Case& c) { return c.value_dim != c.dim; }},
    {"causal", kBand,
     [](const Case& c) { return !c.mask.band.left && c.mask.band.right.value_or(1) == 0; }},
    {"a window", kBand,
     [](const Case& c) {
       return c.mask.band.left.value_or(-1) >= 0 && c.mask.band.right.value_or(0) >= 0;
     }},
    {"a negative limit", kBand,
     [](const Case& c) {
       return c.mask.band.left.value_or(0) < 0 || c.mask.band.right.value_or(0) < 0;
     }},
    {"bottom right", kDiagonal,
     [](const Case& c) { return c.mask.band.diagonal == oracle::Diagonal::kBottomRight; }},
    {"top left", kDiagonal,
     [](const Case& c) { return c.mask.band.diagonal == oracle::Diagonal::kTopLeft; }},
    {"shifted", kDiagonal,
     [](const Case& c) { return c.mask.band.diagonal == oracle::Diagonal::kShifted; }},
    {"chunks", kFree, [](const Case& c) { return c.mask.band.chunk > 0; }},
    {"a boolean mask", kFree, [](const Case& c) { return c.mask.has_visible; }},
    {"a broadcast boolean mask", kFree,
     [](const Case& c) { return c.mask.has_visible && any(c.mask.visible_broadcast); }},
    {"a block mask", kFree, [](const Case& c) { return c.mask.has_blocks; }},
    {"bias", kFree, [](const Case& c) { return c.scores.has_bias; }},
    {"broadcast bias", kFree,
     [](const Case& c) { return c.scores.has_bias && any(c.scores.bias_broadcast); }},
    {"hiding bias", kFree, [](const Case& c) { return c.scores.has_bias && c.scores.bias_hides; }},
    {"slopes", kFree, [](const Case& c) { return c.scores.has_slopes; }},
    {"slopes by batch", kFree,
     [](const Case& c) { return c.scores.has_slopes && c.scores.slopes_by_batch; }},
    {"steep slopes", kFree, [](const Case& c) { return c.scores.steep_slopes; }},
    {"softcap", kFree, [](const Case& c) { return c.scores.softcap != 0; }},
    {"sinks", kFree, [](const Case& c) { return c.scores.has_sinks; }},
    {"dropout", kFree, [](const Case& c) { return c.dropout.probability > 0; }},
    {"dropout with a base", kFree,
     [](const Case& c) { return c.dropout.probability > 0 && c.dropout.base[0] > 0; }},
    {"dropout by state", kFree,
     [](const Case& c) { return c.dropout.probability > 0 && c.dropout.by_state; }},
    {"a positive scale", kScale, [](const Case& c) { return has_scale(c, 1); }},
    {"a negative scale", kScale, [](const Case& c) { return has_scale(c, -1); }},
    {"scale zero", kScale, [](const Case& c) { return has_scale(c, 0); }},
    {"an lse gradient", kFree, [](const Case& c) { return c.gradients.has_lse; }},
    {"no query gradient", kFree, [](const Case& c) { return !c.gradients.query; }},
    {"no key gradient", kFree, [](const Case& c) { return !c.gradients.key; }},
    {"no value gradient", kFree, [](const Case& c) { return !c.gradients.value; }},
    {"deterministic", kFree, [](const Case& c) { return c.gradients.deterministic; }},
    {"no bias gradient", kFree,
     [](const Case& c) { return c.scores.has_bias && !c.gradients.bias; }},
    {"bias of 16 bits", kFree,
     [](const Case& c) {
       return c.scores.has_bias &&
              (c.scores.bias_dtype == TW_FLOAT16 || c.scores.bias_dtype == TW_BFLOAT16);
     }},
    {"64-bit indices", kFree, [](const Case& c) { return c.keys.index_dtype == TW_INT64; }},
    {"float64", kDtype, [](const Case& c) { return c.dtypes.input == TW_FLOAT64; }},
    {"float32", kDtype, [](const Case& c) { return c.dtypes.input == TW_FLOAT32; }},
    {"float16", kDtype, [](const Case& c) { return c.dtypes.input == TW_FLOAT16; }},
    {"bfloat16", kDtype, [](const Case& c) { return c.dtypes.input == TW_BFLOAT16; }},
    {"e4m3", kDtype, [](const Case& c) { return c.dtypes.input == TW_FLOAT8_E4M3; }},
    {"e5m2", kDtype, [](const Case& c) { return c.dtypes.input == TW_FLOAT8_E5M2; }},
    {"outputs of another type", kDtype,
     [](const Case& c) { return c.dtypes.output != c.dtypes.input; }},
    {"8-bit factors", kDtype, [](const Case& c) { return c.dtypes.has_scaling; }},
    {"several threads", kFree, [](const Case& c) { return c.run.threads > 1; }},
    {"an embedder's threads", kFree, [](const Case& c) { return c.run.by_host; }},
    {"contiguous tensors", kFree, [](const Case& c) { return !c.run.is_scattered; }}};

constexpr std::size_t kCount = std::size(kFeatures);
static_assert(kCount <= kMostFeatures);

bool can_meet(std::size_t first, std::size_t second) {
  const int group = kFeatures[first].group;
  return group == kFree || group != kFeatures[second].group;
}

}  // namespace

Features features_of(const Case& drawn) {
  Features features;
  for (std::size_t n = 0; n < kCount; ++n) features[n] = kFeatures[n].present(drawn);
  return features;
}

void Coverage::add(const Features& features) {
  for (std::size_t n = 0; n < kCount; ++n) {
    if (features[n]) met_[n] |= features;
  }
}

std::size_t Coverage::met() const {
  return possible() - missing().size();
}

std::size_t Coverage::possible() const {
  std::size_t count = 0;
  for (std::size_t first = 0; first < kCount; ++first) {
    for (std::size_t second = first + 1; second < kCount; ++second) {
      if (can_meet(first, second)) ++count;
    }
  }
  return count;
}

std::vector<std::string> Coverage::missing() const {
  std::vector<std::string> result;
  for (std::size_t first = 0; first < kCount; ++first) {
    for (std::size_t second = first + 1; second < kCount; ++second) {
      if (!can_meet(first, second) || met_[first][second]) continue;
      result.push_back(std::string(kFeatures[first].name) + " with " + kFeatures[second].name);
    }
  }
  return result;
}

}  // namespace tilewise::conformance
