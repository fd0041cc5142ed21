// Draws the numbers: Gaussian ones, and the families that make softmax hard.
#include "conformance/values.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tilewise::conformance {
namespace {

using oracle::Random;

// Calls visit(b, i) for every row that counts.
template <class Visit>
void for_each_row(const SideCase& side, const Visit& visit) {
  for (std::int64_t b = 0; b < static_cast<std::int64_t>(side.end.size()); ++b) {
    for (std::int64_t i = 0; i < side.length(b); ++i) visit(b, i);
  }
}

struct Rows {
  const SideCase& side;
  std::int64_t heads, dim;
};

// Calls number(b, i, h, d) for every element of every row that counts.
template <class Number>
void fill_rows(Field& field, const Rows& rows, const Number& number) {
  if (field.absent()) return;
  for_each_row(rows.side, [&](std::int64_t b, std::int64_t i) {
    for (std::int64_t h = 0; h < rows.heads; ++h) {
      for (std::int64_t d = 0; d < rows.dim; ++d) {
        field.write(row_index(rows.side, b, i, h, d), number(b, i, h, d));
      }
    }
  });
}

// Calls number(index) for every (b, h, i, j) that a sequence's score matrix has.
template <class Number>
void fill_scores(const Case& drawn, Field& field, const Number& number) {
  if (field.absent()) return;
  for_each_row(drawn.queries, [&](std::int64_t b, std::int64_t i) {
    for (std::int64_t h = 0; h < drawn.heads; ++h) {
      for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
        const Index index = broadcast_index(field, {b, h, i, j});
        field.write(index, number(index));
      }
    }
  });
}

template <class Number>
void fill_whole(Field& field, const Number& number) {
  if (field.absent()) return;
  const std::int64_t columns = field.view().rank > 1 ? field.size(1) : 1;
  for (std::int64_t i = 0; i < field.size(0); ++i) {
    for (std::int64_t j = 0; j < columns; ++j) field.write({i, j}, number());
  }
}

double default_scale(const Case& drawn) {
  return drawn.scores.has_scale ? drawn.scores.scale
                                : 1 / std::sqrt(static_cast<double>(drawn.dim));
}

bool is_narrow(const Case& drawn) {
  return drawn.dtypes.input == TW_FLOAT8_E4M3 || drawn.dtypes.input == TW_FLOAT8_E5M2;
}

// The first channel of every query, or of every key, in the family shift. The product of the two,
// times the scale, moves each score by -128, -1e4 or -1e5 (in 8-bit types by -128), or by less if a
// key would be too large.
double shift_of(const Case& drawn, bool is_query) {
  const double shifts[] = {128, 1e4, 1e5};
  const double scale = default_scale(drawn);
  const double shift = is_narrow(drawn) ? 128 : shifts[drawn.seed % 3];
  const double query = is_narrow(drawn) ? 16 : 128, most = is_narrow(drawn) ? 400 : 60000;
  return is_query ? query : std::clamp(-shift / (scale * query), -most, most);
}

// Sign d of the code of key `row`: the last channels hold the row's number, the others noise.
double code(std::int64_t row, std::int64_t d, std::int64_t dim) {
  constexpr std::int64_t kBits = 17;
  const std::int64_t bit = dim - 1 - d;
  if (bit < kBits) return ((row >> bit) & 1) != 0 ? 1 : -1;
  Random random(static_cast<std::uint64_t>(row) * 1000003 + static_cast<std::uint64_t>(d));
  return random.chance(0.5) ? 1 : -1;
}

// The size of each channel that a query and a hub's key have in common, for a score of about 12.
double hub_length(const Case& drawn) {
  const double size = std::fabs(default_scale(drawn)) * static_cast<double>(drawn.dim);
  return size > 0 ? std::min(8.0, std::sqrt(12 / size)) : 1;
}

bool is_hub(std::int64_t key, std::int64_t keys) {
  return key == 0 || key == keys / 3 || key == 2 * keys / 3 || key == keys - 1;
}

double outlier(Random& random) {
  return random.normal() + (random.chance(0.003) ? 10 * random.normal() : 0);
}

double query_number(const Case& drawn, Random& random, const Index& element) {
  const auto [b, i, h, d] = element;
  switch (drawn.family) {
    case Family::kPeaky:
      return 8 * random.normal();
    case Family::kOutlier:
      return outlier(random);
    case Family::kShift:
      return d == 0 ? shift_of(drawn, true) : random.normal();
    case Family::kHub:
      return std::copysign(hub_length(drawn), default_scale(drawn)) * code(0, d, drawn.dim) +
             random.normal() / 2;
    case Family::kNeedle:
      return code(needle_of(drawn, b, i), d, drawn.dim) *
             (drawn.dtypes.input == TW_FLOAT8_E4M3 ? 256 : 1024);
    default:
      return random.normal();
  }
}

double key_number(const Case& drawn, Random& random, const Index& element) {
  const auto [b, j, h, d] = element;
  switch (drawn.family) {
    case Family::kNeedle:
      return code(j, d, drawn.dim);
    case Family::kOutlier:
      return outlier(random);
    case Family::kShift:
      return d == 0 ? shift_of(drawn, false) : random.normal();
    case Family::kHub:
      return is_hub(j, drawn.keys.length(b)) ? hub_length(drawn) * code(0, d, drawn.dim)
                                             : random.normal();
    default:
      return random.normal();
  }
}

double value_number(const Case& drawn, Random& random) {
  switch (drawn.family) {
    case Family::kOutlier:
      return outlier(random);
    case Family::kLarge:
      return (is_narrow(drawn) ? 8 : 1e3) * random.normal();
    case Family::kSmall:
      return (is_narrow(drawn) ? 0.02 : 1e-5) * random.normal();
    case Family::kOnes:
      return 1;
    default:
      return random.normal();
  }
}

void fill_operands(const Case& drawn, Random& random, Setup& setup) {
  const Rows queries{drawn.queries, drawn.heads, drawn.dim};
  const Rows keys{drawn.keys, drawn.key_heads, drawn.dim};
  const Rows values{drawn.keys, drawn.key_heads, drawn.value_dim};
  const Rows outputs{drawn.queries, drawn.heads, drawn.value_dim};
  fill_rows(setup.query, queries, [&](auto b, auto i, auto h, auto d) {
    return query_number(drawn, random, {b, i, h, d});
  });
  fill_rows(setup.key, keys, [&](auto b, auto j, auto h, auto d) {
    return key_number(drawn, random, {b, j, h, d});
  });
  fill_rows(setup.value, values, [&](auto...) { return value_number(drawn, random); });
  // Large values meet small gradients, so that no gradient leaves its type's range.
  const double arriving = drawn.family != Family::kLarge ? 1 : is_narrow(drawn) ? 0.125 : 1e-3;
  fill_rows(setup.gradients.output, outputs, [&](auto...) { return arriving * random.normal(); });
  if (setup.gradients.lse.absent()) return;
  for_each_row(drawn.queries, [&](std::int64_t b, std::int64_t i) {
    for (std::int64_t h = 0; h < drawn.heads; ++h) {
      setup.gradients.lse.write(lse_index(drawn.queries, b, h, i), random.normal());
    }
  });
}

// A slope. A steep one is 4 to 512 in size, so exp(slope * distance) overflows at a distance of 1
// to 23 keys in float, and of 2 to 178 keys in double.
double slope(const Case& drawn, Random& random) {
  const double gentle = 0.3 * random.uniform() - 0.05;
  if (!drawn.scores.steep_slopes) return gentle;
  return std::copysign(std::exp2(static_cast<double>(random.integer(2, 9))), gentle - 0.1);
}

// Whether the family hides the key of (b, h, i, j) from its row.
bool family_hides(const Case& drawn, const Index& element) {
  constexpr std::int64_t kWidestTile = 128, kEnd = 16;
  const auto [b, h, i, j] = element;
  const std::int64_t keys = drawn.keys.length(b);
  switch (drawn.family) {
    case Family::kLonely:
      return j != keys - 1 - i % std::min(keys, kEnd);
    case Family::kLate:
      return j < (keys > kWidestTile ? kWidestTile : keys / 2);
    default:
      return false;
  }
}

void fill_masks(const Case& drawn, Random& random, ScoreFields& fields) {
  constexpr double kTrue[] = {1, 2, 255};
  const auto flag = [&](double often) {
    return random.chance(often) ? kTrue[random.integer(0, 2)] : 0;
  };
  fill_scores(drawn, fields.visible, [&](const Index& element) {
    if (hides_keys(drawn.family)) return family_hides(drawn, element) ? 0 : flag(1);
    return flag(0.7);
  });
  if (fields.blocks.absent()) return;
  for_each_row(drawn.queries, [&](std::int64_t b, std::int64_t i) {
    for (std::int64_t h = 0; h < drawn.heads; ++h) {
      for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
        if (i % drawn.mask.block_query != 0 || j % drawn.mask.block_key != 0) continue;
        Index index = {b, h, i / drawn.mask.block_query, j / drawn.mask.block_key};
        if (fields.blocks.size(0) == 1) index[0] = 0;
        if (fields.blocks.size(1) == 1) index[1] = 0;
        fields.blocks.write(index, flag(drawn.mask.share_of_blocks));
      }
    }
  });
}

}  // namespace

std::int64_t needle_of(const Case& drawn, std::int64_t b, std::int64_t i) {
  const std::int64_t keys = drawn.keys.length(b), queries = drawn.queries.length(b);
  if (keys == 0 || i == 0) return 0;
  // An odd step reaches every place in a tile or page; the last query looks for the last key.
  const std::int64_t step =
      std::max<std::int64_t>(1, keys / std::max<std::int64_t>(1, queries)) | 1;
  const std::int64_t place = keys - 1 - step * (queries - 1 - i);
  return (place % keys + keys) % keys;
}

void fill_values(const Case& drawn, Random& random, Setup& setup) {
  fill_operands(drawn, random, setup);
  fill_masks(drawn, random, setup.scores);
  const auto normal = [&] { return random.normal(); };
  fill_whole(setup.scores.slopes, [&] { return slope(drawn, random); });
  fill_whole(setup.scores.sinks, normal);
  fill_scores(drawn, setup.scores.bias, [&](const Index& element) {
    const bool hides = hides_keys(drawn.family) ? family_hides(drawn, element)
                                                : drawn.scores.bias_hides && random.chance(0.2);
    return hides ? -std::numeric_limits<double>::infinity() : random.normal();
  });
  const auto factor = [&] { return std::exp2(static_cast<double>(random.integer(-2, 1))) * 1.25; };
  fill_whole(setup.scaling.query, factor);
  fill_whole(setup.scaling.key, factor);
  fill_whole(setup.scaling.value, factor);
  fill_whole(setup.scaling.output_gradient, factor);
}

}  // namespace tilewise::conformance
