// Draws random cases. Each feature is so frequent that any two that can meet do so in some case of
// the tier quick; list_test.cpp checks this.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>

#include "conformance/case.h"
#include "conformance/values.h"
#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

using oracle::Diagonal;
using oracle::Random;

// Lengths around powers of two, and some between: whole tiles, one row less and one more.
constexpr std::int64_t kLengths[] = {0,  1,  2,  3,  4,  5,  7,  8,  15, 16,  17,
                                     24, 31, 32, 33, 48, 63, 64, 65, 97, 128, 129};

std::int64_t draw_length(Random& random, std::int64_t most) {
  const auto* const end = std::upper_bound(std::begin(kLengths), std::end(kLengths), most);
  return kLengths[random.integer(0, end - std::begin(kLengths) - 1)];
}

// The longest length for which the naive reference stays quick.
std::int64_t length_limit(const Case& drawn) {
  constexpr double kWork = 2e6;
  const auto per_score = static_cast<double>(drawn.batch * drawn.heads) *
                         static_cast<double>(drawn.dim + drawn.value_dim + 20);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::sqrt(kWork / per_score)), 3, 129);
}

void draw_sizes(Case& drawn, Random& random) {
  constexpr std::int64_t kGroups[] = {1, 1, 2, 3, 7};
  drawn.batch = random.integer(1, 3);
  const std::int64_t group = kGroups[random.integer(0, 4)];
  drawn.key_heads = random.integer(1, group > 2 ? 2 : 3);
  drawn.heads = group * drawn.key_heads;
  drawn.dim = random.integer(1, random.chance(0.5) ? 20 : 70);
  drawn.value_dim = random.chance(0.4) ? drawn.dim : random.integer(1, 40);
  if (random.chance(0.7)) return;
  // Sizes small enough for lengths of several tiles.
  drawn.batch = random.integer(1, 2);
  drawn.key_heads = 1;
  drawn.heads = random.integer(1, 2);
  drawn.dim = random.integer(1, 8);
  drawn.value_dim = random.chance(0.4) ? drawn.dim : random.integer(1, 8);
}

// Draws which rows of each sequence count; the capacities are known.
void draw_rows(SideCase& side, Random& random) {
  const std::size_t batch = side.capacity.size();
  // The lengths of paged sequences are always given.
  side.has_used = random.chance(0.4) || side.storage == Storage::kPaged;
  side.has_start = random.chance(0.25);
  for (std::size_t b = 0; b < batch; ++b) {
    const std::int64_t end = side.has_used && random.chance(0.8)
                                 ? random.integer(0, side.capacity[b])
                                 : side.capacity[b];
    side.end.push_back(end);
    side.start.push_back(side.has_start && random.chance(0.7) ? random.integer(0, end) : 0);
  }
}

void draw_places(SideCase& side, std::int64_t batch, std::int64_t most, Random& random) {
  if (side.storage == Storage::kPaged) {
    constexpr std::int64_t kPageSizes[] = {1, 3, 8, 16, 20};
    side.page_size = kPageSizes[random.integer(0, 4)];
    const std::int64_t limit = std::max<std::int64_t>(1, most / side.page_size);
    const std::int64_t columns = random.integer(1, limit);
    side.capacity.assign(static_cast<std::size_t>(batch), side.page_size * columns);
    side.places.resize(static_cast<std::size_t>(batch * columns));
  } else {
    side.capacity.assign(static_cast<std::size_t>(batch), draw_length(random, most));
    side.places.resize(static_cast<std::size_t>(batch));
  }
  const auto count = static_cast<std::int64_t>(side.places.size());
  const bool may_share = random.chance(0.4);
  side.outer = may_share ? 1 + count / 2 : count + random.integer(0, 3);
  std::vector<std::int64_t> all(static_cast<std::size_t>(side.outer));
  std::iota(all.begin(), all.end(), 0);
  for (std::size_t n = 0; n < side.places.size(); ++n) {
    const std::int64_t first = may_share ? 0 : static_cast<std::int64_t>(n);
    const auto pick = static_cast<std::size_t>(random.integer(first, side.outer - 1));
    side.places[n] = all[pick];
    if (!may_share) std::swap(all[n], all[pick]);
  }
}

// Whether two entries of the page table or batch index name the same place in the cache; entries
// count if they hold rows that the call reads. A call cannot write gradients of keys and values
// that share memory.
bool shares_places(const SideCase& side) {
  if (!side.is_cache()) return false;
  std::set<std::int64_t> seen;
  for (std::int64_t b = 0; b < static_cast<std::int64_t>(side.end.size()); ++b) {
    std::int64_t last = -1;
    for (std::int64_t i = 0; i < side.length(b); ++i) {
      const std::int64_t row = side.start[static_cast<std::size_t>(b)] + i;
      const std::int64_t column = side.page_size > 0 ? row / side.page_size : 0;
      if (column != last && !seen.insert(side.place(b, i)[0]).second) return true;
      last = column;
    }
  }
  return false;
}

SideCase draw_side(Storage storage, std::int64_t batch, std::int64_t most, Random& random) {
  SideCase side;
  side.storage = storage;
  side.index_dtype = random.chance(0.5) ? TW_INT32 : TW_INT64;
  if (side.is_cache()) {
    draw_places(side, batch, most, random);
  } else if (storage == Storage::kDense) {
    side.capacity.assign(static_cast<std::size_t>(batch), draw_length(random, most));
  } else {
    for (std::int64_t b = 0; b < batch; ++b) side.capacity.push_back(draw_length(random, most));
    const std::int64_t longest = *std::max_element(side.capacity.begin(), side.capacity.end());
    side.packed.before = random.chance(0.3) ? random.integer(1, 5) : 0;
    side.packed.after = random.chance(0.3) ? random.integer(1, 5) : 0;
    std::int64_t tokens = side.packed.before + side.packed.after;
    for (const std::int64_t each : side.capacity) tokens += each;
    const std::int64_t slack = random.chance(0.5) ? 3 : 0;
    if (random.chance(0.5)) side.packed.max_length = std::min(longest + slack, tokens);
  }
  draw_rows(side, random);
  return side;
}

void draw_band(oracle::Band& band, Random& random) {
  const std::int64_t kind = random.integer(0, 4);
  if (kind == 1) band.right = 0;
  if (kind == 2) {
    const std::int64_t sides = random.integer(1, 3);
    if ((sides & 1) != 0) band.left = random.integer(0, 20);
    if ((sides & 2) != 0) band.right = random.integer(0, 20);
  }
  if (kind == 3) {
    if (random.chance(0.5)) {
      band.right = random.integer(-6, -1);
    } else {
      band.left = random.integer(-6, -1);
      if (random.chance(0.5)) band.right = random.integer(6, 20);
    }
  }
  band.diagonal = static_cast<Diagonal>(random.integer(0, 2));
  if (band.diagonal == Diagonal::kShifted) band.shift = random.integer(-20, 20);
  if (random.chance(0.25)) band.chunk = random.integer(1, 40);
}

void draw_mask(MaskCase& mask, Random& random) {
  draw_band(mask.band, random);
  mask.has_visible = random.chance(0.3);
  for (bool& each : mask.visible_broadcast) each = random.chance(0.4);
  mask.has_blocks = random.chance(0.25);
  for (bool& each : mask.blocks_broadcast) each = random.chance(0.5);
  mask.block_query = 16 * random.integer(1, 3);
  mask.block_key = 16 * random.integer(1, 3);
}

void draw_scores(ScoreCase& scores, Random& random) {
  constexpr tw_dtype kFloats[] = {TW_FLOAT64, TW_FLOAT32, TW_FLOAT16, TW_BFLOAT16};
  scores.has_scale = random.chance(0.5);
  const std::int64_t kind = random.integer(0, 2);
  const double size = 0.05 + 0.5 * random.uniform();
  scores.scale = kind == 0 ? 0 : kind == 1 ? -size : size;
  if (random.chance(0.3)) scores.softcap = 0.5 + 3 * random.uniform();
  scores.has_slopes = random.chance(0.3);
  scores.slopes_by_batch = random.chance(0.5);
  scores.has_bias = random.chance(0.4);
  scores.bias_hides = random.chance(0.5);
  for (bool& each : scores.bias_broadcast) each = random.chance(0.4);
  scores.bias_dtype = kFloats[random.integer(0, 3)];
  scores.has_sinks = random.chance(0.3);
}

void draw_dropout(DropoutCase& dropout, Random& random) {
  constexpr double kProbabilities[] = {0.1, 0.25, 0.5, 0.9, 3.0 / 65536};
  const bool wanted = random.chance(0.4);
  const double probability = kProbabilities[random.integer(0, 4)];
  dropout.seed = random.next();
  dropout.offset = random.next();
  dropout.by_state = random.chance(0.4);
  if (wanted) dropout.probability = probability;
  if (random.chance(0.5)) return;
  constexpr std::int64_t kLargest = (std::int64_t{1} << 32U) - 1;
  for (std::int64_t& base : dropout.base) {
    const std::int64_t kind = random.integer(0, 9);
    base = random.integer(0, 70);
    if (kind == 0) base = random.integer(0, kLargest);
    if (kind == 1) base = kLargest - base;  // the indices pass 2^32
  }
}

void draw_gradients(GradientCase& gradients, bool writes_keys, Random& random) {
  gradients.has_lse = random.chance(0.4);
  gradients.deterministic = random.chance(0.3);
  const bool all = random.chance(0.5);
  gradients.key = gradients.value = writes_keys;
  if (all) return;
  for (bool* each : {&gradients.query, &gradients.key, &gradients.value, &gradients.bias,
                     &gradients.slopes, &gradients.sinks}) {
    *each = *each && random.chance(0.6);
  }
  const bool any = gradients.query || gradients.key || gradients.value;
  gradients.query = gradients.query || !any;
}

}  // namespace

Case draw_case(std::uint64_t seed) {
  constexpr Storage kKeyStorages[] = {Storage::kDense,  Storage::kDense, Storage::kPacked,
                                      Storage::kPacked, Storage::kPaged, Storage::kIndexed};
  Random random(seed * 2 + 1);
  Case drawn;
  drawn.seed = seed;
  draw_sizes(drawn, random);
  const std::int64_t most = length_limit(drawn);
  drawn.queries =
      draw_side(random.chance(0.5) ? Storage::kDense : Storage::kPacked, drawn.batch, most, random);
  drawn.keys = draw_side(kKeyStorages[random.integer(0, 5)], drawn.batch, most, random);
  draw_mask(drawn.mask, random);
  draw_scores(drawn.scores, random);
  draw_dropout(drawn.dropout, random);
  draw_gradients(drawn.gradients, !shares_places(drawn.keys), random);
  drawn.run.threads = static_cast<int>(random.integer(1, 3));
  drawn.run.by_host = random.chance(0.2);
  drawn.run.is_scattered = random.chance(0.9);
  drawn.scores.steep_slopes = drawn.scores.has_slopes && random.chance(0.5);
  return drawn;
}

Case draw_aligned_case(std::uint64_t seed) {
  constexpr std::int64_t kPiece = 8, kMostPieces = 16;
  Case drawn = draw_case(seed);
  Random random(seed * 2 + 7);
  const ScoreCase scores = drawn.scores;
  if (random.chance(0.4)) {
    const MaskCase mask = drawn.mask;
    const PlainSizes sizes{.batch = 1,
                           .queries = random.integer(100, 300),
                           .keys = random.integer(100, 450),
                           .heads = 2,
                           .key_heads = random.integer(1, 2)};
    drawn = plain_case(seed, sizes, {});
    drawn.mask = mask;
  }
  if (drawn.keys.storage == Storage::kPaged)
    drawn.keys = dense_side(drawn.batch, random.integer(0, 200));
  drawn.dim = kPiece * random.integer(1, kMostPieces);
  drawn.value_dim = random.chance(0.6) ? drawn.dim : kPiece * random.integer(1, kMostPieces);
  drawn.mask.has_visible = drawn.mask.has_blocks = false;
  drawn.scores = {};
  drawn.scores.has_scale = scores.has_scale && scores.scale > 0;
  if (drawn.scores.has_scale) drawn.scores.scale = scores.scale;
  drawn.dropout = {};
  drawn.run.is_scattered = drawn.run.keeps_pieces = true;
  const tw_dtype dtype = seed % 2 == 0 ? TW_FLOAT16 : TW_BFLOAT16;
  drawn.dtypes = {.input = dtype, .output = dtype, .lse = TW_FLOAT32};
  const Family family = kFamilies[static_cast<std::size_t>(random.integer(0, 10))];
  if (!hides_keys(family)) set_family(drawn, family);
  return drawn;
}

void set_family(Case& drawn, Family family) {
  drawn.family = family;
  // The gauss family has a limit on its relative error, which steep slopes would break.
  if (family == Family::kGauss) drawn.scores.steep_slopes = false;
  if (family == Family::kShift) {
    // Softcap or a scale of 0 would take the shift away again.
    drawn.scores.softcap = 0;
    drawn.scores.has_scale = drawn.scores.has_scale && drawn.scores.scale != 0;
  }
  if (!hides_keys(family)) return;
  // Keys are hidden row by row, so that nothing else decides what a row sees.
  drawn.mask = {};
  drawn.scores.bias_hides = true;
  if (drawn.seed % 2 == 0) {
    drawn.mask.has_visible = true;
    drawn.scores.has_bias = false;
  } else {
    drawn.scores.has_bias = true;
    drawn.scores.bias_broadcast = {false, drawn.scores.bias_broadcast[1], false, false};
  }
}

void set_dtype(Case& drawn, tw_dtype dtype) {
  constexpr tw_dtype kOutputs[] = {TW_FLOAT32, TW_BFLOAT16, TW_FLOAT16};
  drawn.dtypes.input = drawn.dtypes.output = dtype;
  drawn.dtypes.lse = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32;
  drawn.gradients.bias_as_bias = drawn.seed % 2 == 0;
  if (dtype == TW_FLOAT64) return;
  const bool is_narrow = dtype == TW_FLOAT8_E4M3 || dtype == TW_FLOAT8_E5M2;
  const bool is_fourth = drawn.seed % 4 == 0;
  if (is_narrow != is_fourth) drawn.dtypes.output = kOutputs[drawn.seed % 3];
  drawn.dtypes.has_scaling = is_narrow && drawn.seed % 2 == 0;
  drawn.dtypes.scaling_broadcast = {drawn.seed % 3 == 0, drawn.seed % 5 == 0};
}

Case plain_case(std::uint64_t seed, const PlainSizes& sizes, const DtypeCase& dtypes) {
  Case plain;
  plain.seed = seed;
  plain.batch = sizes.batch;
  plain.heads = sizes.heads;
  plain.key_heads = sizes.key_heads;
  plain.dim = sizes.dim;
  plain.value_dim = sizes.value_dim;
  plain.queries = dense_side(sizes.batch, sizes.queries);
  plain.keys = dense_side(sizes.batch, sizes.keys);
  plain.dtypes = dtypes;
  plain.run.is_scattered = false;
  plain.gradients.bias = plain.gradients.slopes = plain.gradients.sinks = false;
  return plain;
}

}  // namespace tilewise::conformance
