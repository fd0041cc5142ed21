// Draws the numbers: Gaussian ones, and the families that make softmax hard.
#include "conformance/values.h"

#include <algorithm>
#include <cmath>
#include <functional>
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

// Moves every logit by about the same large amount, through the first channel of query and key.
double shift_of(const Case& drawn, bool is_query) {
  const double shifts[] = {128, 1e4, 1e5};
  const double scale = default_scale(drawn);
  const bool narrow = drawn.dtypes.input == TW_FLOAT8_E4M3 || drawn.dtypes.input == TW_FLOAT8_E5M2;
  const double shift = narrow ? 128 : shifts[drawn.seed % 3];
  const double query = narrow ? 16 : 128;
  if (is_query || scale == 0) return query;
  return std::clamp(-shift / (scale * query), -400.0 * query / 16, 400.0 * query / 16);
}

// One bit of key (b, j)'s code: keys differ in about half of their channels.
double code(const Case& drawn, std::int64_t b, std::int64_t j, std::int64_t d) {
  Random random(drawn.seed + 7919U * static_cast<std::uint64_t>(b) +
                1000003U * static_cast<std::uint64_t>(j) + 131U * static_cast<std::uint64_t>(d));
  return random.chance(0.5) ? 1 : -1;
}

double query_number(const Case& drawn, Random& random, const Index& element) {
  const auto [b, i, h, d] = element;
  switch (drawn.family) {
    case Family::kPeaky:
      return 8 * random.normal();
    case Family::kShift:
      return d == 0 ? shift_of(drawn, true) : random.normal();
    case Family::kNeedle: {
      const std::int64_t keys = std::max<std::int64_t>(1, drawn.keys.length(b));
      const double size = drawn.dtypes.input == TW_FLOAT8_E4M3 ? 256 : 1024;
      return code(drawn, b, (i * 7 + h) % keys, d) * size;
    }
    default:
      return random.normal();
  }
}

double key_number(const Case& drawn, Random& random, const Index& element) {
  const auto [b, j, h, d] = element;
  if (drawn.family == Family::kNeedle) return code(drawn, b, j, d);
  if (drawn.family == Family::kShift && d == 0) return shift_of(drawn, false);
  return random.normal();
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
  const auto normal = [&](auto...) { return random.normal(); };
  fill_rows(setup.value, values, normal);
  fill_rows(setup.gradients.output, outputs, normal);
  if (setup.gradients.lse.absent()) return;
  for_each_row(drawn.queries, [&](std::int64_t b, std::int64_t i) {
    for (std::int64_t h = 0; h < drawn.heads; ++h) {
      setup.gradients.lse.write(lse_index(drawn.queries, b, h, i), random.normal());
    }
  });
}

void fill_masks(const Case& drawn, Random& random, ScoreFields& fields) {
  constexpr double kTrue[] = {1, 2, 255};
  const auto flag = [&](double often) {
    return random.chance(often) ? kTrue[random.integer(0, 2)] : 0;
  };
  fill_scores(drawn, fields.visible, [&](const Index&) { return flag(0.7); });
  if (fields.blocks.absent()) return;
  for_each_row(drawn.queries, [&](std::int64_t b, std::int64_t i) {
    for (std::int64_t h = 0; h < drawn.heads; ++h) {
      for (std::int64_t j = 0; j < drawn.keys.length(b); ++j) {
        if (i % drawn.mask.block_query != 0 || j % drawn.mask.block_key != 0) continue;
        Index index = {b, h, i / drawn.mask.block_query, j / drawn.mask.block_key};
        if (fields.blocks.size(0) == 1) index[0] = 0;
        if (fields.blocks.size(1) == 1) index[1] = 0;
        fields.blocks.write(index, flag(0.7));
      }
    }
  });
}

}  // namespace

void fill_values(const Case& drawn, Random& random, Setup& setup) {
  fill_operands(drawn, random, setup);
  fill_masks(drawn, random, setup.scores);
  const auto normal = [&] { return random.normal(); };
  fill_whole(setup.scores.slopes, [&] { return 0.3 * random.uniform() - 0.05; });
  fill_whole(setup.scores.sinks, normal);
  const bool hides = drawn.scores.bias_hides;
  fill_scores(drawn, setup.scores.bias, [&](const Index&) {
    return hides && random.chance(0.2) ? -std::numeric_limits<double>::infinity() : random.normal();
  });
  const auto factor = [&] { return std::exp2(static_cast<double>(random.integer(-2, 1))) * 1.25; };
  fill_whole(setup.scaling.query, factor);
  fill_whole(setup.scaling.key, factor);
  fill_whole(setup.scaling.value, factor);
  fill_whole(setup.scaling.output_gradient, factor);
}

}  // namespace tilewise::conformance
