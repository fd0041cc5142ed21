// Lays out every tensor of a case, then writes numbers into what its sequences own.
#include "conformance/setup.h"

#include <algorithm>
#include <cstring>

#include "conformance/device.h"
#include "conformance/values.h"
#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

// How many rows or columns a mask or bias has. For packed sequences on a device at least 1, because
// call.cpp sets their max_length to 1 or more there.
std::int64_t table_extent(const SideCase& side) {
  const bool bounded = calls_run_on_device() && side.storage == Storage::kPacked;
  return bounded ? std::max<std::int64_t>(1, side.extent()) : side.extent();
}

using oracle::Random;

class Layouter {
 public:
  Layouter(const Case& drawn, Random& random) : drawn_(drawn), random_(random) {}

  Field input(tw_dtype dtype, const Shape& shape) { return make(dtype, shape, Role::kInput); }
  // Laid out like outputs, because entries of lengths and tables must not share memory.
  Field table(tw_dtype dtype, const Shape& shape) { return output(dtype, shape); }
  Field output(tw_dtype dtype, const Shape& shape) { return make(dtype, shape, Role::kOutput); }

  [[nodiscard]] Shape rows(const SideCase& side, std::int64_t heads, std::int64_t dim) const {
    std::int64_t tokens = side.packed.before + side.packed.after;
    for (std::int64_t each : side.capacity) tokens += each;
    switch (side.storage) {
      case Storage::kPacked:
        return {tokens, heads, dim};
      case Storage::kPaged:
        return {side.outer, side.page_size, heads, dim};
      case Storage::kIndexed:
        return {side.outer, side.extent(), heads, dim};
      default:
        return {drawn_.batch, side.extent(), heads, dim};
    }
  }

  [[nodiscard]] Shape lse() const {
    const Shape query = rows(drawn_.queries, drawn_.heads, drawn_.dim);
    if (query.size() == 3) return {drawn_.heads, query[0]};
    return {drawn_.batch, drawn_.heads, query[1]};
  }

  [[nodiscard]] Shape scores(const std::array<bool, 4>& broadcast) const {
    Shape shape = {drawn_.batch, drawn_.heads, table_extent(drawn_.queries),
                   table_extent(drawn_.keys)};
    for (std::size_t axis = 0; axis < 4; ++axis) {
      if (broadcast[axis]) shape[axis] = 1;
    }
    return shape;
  }

 private:
  Field make(tw_dtype dtype, const Shape& shape, Role role) {
    if (!drawn_.run.is_scattered) return Field::dense(dtype, shape);
    constexpr std::int64_t kPiece = 8;
    const bool keeps =
        drawn_.run.keeps_pieces && bytes_of(dtype) == 2 && shape.back() % kPiece == 0;
    return Field::scattered(dtype, shape, {role, keeps ? kPiece : 1}, random_);
  }

  const Case& drawn_;
  Random& random_;
};

std::int64_t blocks(std::int64_t extent, std::int64_t block) {
  return (extent + block - 1) / block;
}

SideFields lay_side(const SideCase& side, Layouter& layout) {
  const auto batch = static_cast<std::int64_t>(side.end.size());
  SideFields fields;
  if (side.storage == Storage::kPacked) {
    fields.offsets = layout.table(side.index_dtype, {batch + 1});
    std::int64_t token = side.packed.before;
    fields.offsets.write({0}, static_cast<double>(token));
    for (std::int64_t b = 0; b < batch; ++b) {
      token += side.capacity[static_cast<std::size_t>(b)];
      fields.offsets.write({b + 1}, static_cast<double>(token));
    }
  }
  if (side.has_used) fields.used = layout.table(side.index_dtype, {batch});
  if (side.has_start) fields.start = layout.table(side.index_dtype, {batch});
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto at = static_cast<std::size_t>(b);
    if (side.has_used) fields.used.write({b}, static_cast<double>(side.end[at]));
    if (side.has_start) fields.start.write({b}, static_cast<double>(side.start[at]));
  }
  return fields;
}

void lay_cache(const SideCase& side, std::int64_t batch, Layouter& layout, Setup& setup) {
  if (!side.is_cache()) return;
  const auto count = static_cast<std::int64_t>(side.places.size());
  Field& field = side.storage == Storage::kPaged ? setup.keys.page_table : setup.keys.batch_index;
  const std::int64_t columns = count / batch;
  field = side.storage == Storage::kPaged ? layout.table(side.index_dtype, {batch, columns})
                                          : layout.table(side.index_dtype, {batch});
  for (std::int64_t n = 0; n < count; ++n) {
    field.write({n / columns, n % columns},
                static_cast<double>(side.places[static_cast<std::size_t>(n)]));
  }
}

void lay_scores(const Case& drawn, Layouter& layout, ScoreFields& fields) {
  const ScoreCase& scores = drawn.scores;
  if (scores.has_slopes) {
    const Shape shape =
        scores.slopes_by_batch ? Shape{drawn.batch, drawn.heads} : Shape{drawn.heads};
    fields.slopes = layout.input(TW_FLOAT32, shape);
  }
  if (scores.has_bias) {
    fields.bias = layout.input(scores.bias_dtype, layout.scores(scores.bias_broadcast));
  }
  if (scores.has_sinks) fields.sinks = layout.input(TW_FLOAT32, {drawn.heads});
  const MaskCase& mask = drawn.mask;
  if (mask.has_visible) {
    fields.visible = layout.input(TW_BOOL, layout.scores(mask.visible_broadcast));
  }
  if (mask.has_blocks) {
    fields.blocks = layout.input(TW_BOOL, {mask.blocks_broadcast[0] ? 1 : drawn.batch,
                                           mask.blocks_broadcast[1] ? 1 : drawn.heads,
                                           blocks(table_extent(drawn.queries), mask.block_query),
                                           blocks(table_extent(drawn.keys), mask.block_key)});
  }
}

void lay_scaling(const Case& drawn, Layouter& layout, ScalingFields& fields) {
  if (!drawn.dtypes.has_scaling) return;
  const Shape shape = {drawn.dtypes.scaling_broadcast[0] ? 1 : drawn.batch,
                       drawn.dtypes.scaling_broadcast[1] ? 1 : drawn.key_heads};
  for (Field* each : {&fields.query, &fields.key, &fields.value, &fields.output_gradient}) {
    *each = layout.input(TW_FLOAT32, shape);
  }
}

void lay_gradients(const Case& drawn, Layouter& layout, const Setup& setup,
                   GradientFields& fields) {
  const GradientCase& wanted = drawn.gradients;
  const tw_dtype dtype = drawn.dtypes.output;
  const Shape output = layout.rows(drawn.queries, drawn.heads, drawn.value_dim);
  fields.output = layout.input(dtype, output);
  if (wanted.has_lse) fields.lse = layout.input(drawn.dtypes.lse, layout.lse());
  if (wanted.query) {
    fields.query = layout.output(dtype, layout.rows(drawn.queries, drawn.heads, drawn.dim));
  }
  if (wanted.key) {
    fields.key = layout.output(dtype, layout.rows(drawn.keys, drawn.key_heads, drawn.dim));
  }
  if (wanted.value) {
    fields.value = layout.output(dtype, layout.rows(drawn.keys, drawn.key_heads, drawn.value_dim));
  }
  const auto like = [&](const Field& field, bool same_type = false) {
    const tw_tensor& view = field.view();
    return layout.output(same_type ? static_cast<tw_dtype>(view.dtype) : drawn.dtypes.lse,
                         Shape(view.shape, view.shape + view.rank));
  };
  const ScoreFields& scores = setup.scores;
  if (wanted.bias && !scores.bias.absent()) fields.bias = like(scores.bias, wanted.bias_as_bias);
  if (wanted.slopes && !scores.slopes.absent()) fields.slopes = like(scores.slopes);
  if (wanted.sinks && !scores.sinks.absent()) fields.sinks = like(scores.sinks);
}

}  // namespace

Setup make_setup(const Case& drawn) {
  Random random(drawn.seed * 2);
  Layouter layout(drawn, random);
  Setup setup;
  const tw_dtype input = drawn.dtypes.input;
  setup.query = layout.input(input, layout.rows(drawn.queries, drawn.heads, drawn.dim));
  setup.key = layout.input(input, layout.rows(drawn.keys, drawn.key_heads, drawn.dim));
  setup.value = layout.input(input, layout.rows(drawn.keys, drawn.key_heads, drawn.value_dim));
  setup.output =
      layout.output(drawn.dtypes.output, layout.rows(drawn.queries, drawn.heads, drawn.value_dim));
  setup.lse = layout.output(drawn.dtypes.lse, layout.lse());
  // Probabilities of a packed call may be larger than its longest sequences.
  setup.probabilities =
      layout.output(drawn.dtypes.output,
                    {drawn.batch, drawn.heads,
                     drawn.queries.extent() + (drawn.queries.storage == Storage::kPacked ? 1 : 0),
                     drawn.keys.extent() + (drawn.keys.storage == Storage::kPacked ? 2 : 0)});
  setup.queries = lay_side(drawn.queries, layout);
  setup.keys = lay_side(drawn.keys, layout);
  lay_cache(drawn.keys, drawn.batch, layout, setup);
  lay_scores(drawn, layout, setup.scores);
  lay_scaling(drawn, layout, setup.scaling);
  lay_gradients(drawn, layout, setup, setup.gradients);
  const std::uint64_t state[] = {drawn.dropout.seed, drawn.dropout.offset};
  setup.state = Guarded(sizeof state, Guarded::Flush::kEnd);
  std::memcpy(setup.state.data(), state, sizeof state);
  // A generator of its own, so that numbers do not depend on the layout.
  Random numbers(drawn.seed * 2 + 0x5EED);
  fill_values(drawn, numbers, setup);
  for (const auto& [name, field] : setup.inputs()) field->remember();
  return setup;
}

std::vector<Setup::Named> Setup::inputs() {
  std::vector<Named> all = {{"query", &query},
                            {"key", &key},
                            {"value", &value},
                            {"query offsets", &queries.offsets},
                            {"query used", &queries.used},
                            {"query start", &queries.start},
                            {"key offsets", &keys.offsets},
                            {"key used", &keys.used},
                            {"key start", &keys.start},
                            {"page table", &keys.page_table},
                            {"batch index", &keys.batch_index},
                            {"slopes", &scores.slopes},
                            {"bias", &scores.bias},
                            {"sinks", &scores.sinks},
                            {"visible", &scores.visible},
                            {"blocks", &scores.blocks},
                            {"query factor", &scaling.query},
                            {"key factor", &scaling.key},
                            {"value factor", &scaling.value},
                            {"output gradient factor", &scaling.output_gradient},
                            {"output gradient", &gradients.output},
                            {"lse gradient", &gradients.lse}};
  std::erase_if(all, [](const Named& each) { return each.second->absent(); });
  return all;
}

std::vector<Setup::Named> Setup::gradient_outputs() {
  std::vector<Named> all = {
      {"query gradient", &gradients.query},   {"key gradient", &gradients.key},
      {"value gradient", &gradients.value},   {"bias gradient", &gradients.bias},
      {"slopes gradient", &gradients.slopes}, {"sinks gradient", &gradients.sinks}};
  std::erase_if(all, [](const Named& each) { return each.second->absent(); });
  return all;
}

Index row_index(const SideCase& side, std::int64_t b, std::int64_t i, std::int64_t h,
                std::int64_t d) {
  const auto [outer, row] = side.place(b, i);
  if (side.storage == Storage::kPacked) return {row, h, d, 0};
  return {outer, row, h, d};
}

Index lse_index(const SideCase& side, std::int64_t b, std::int64_t h, std::int64_t i) {
  const auto [outer, row] = side.place(b, i);
  if (side.storage == Storage::kPacked) return {h, row, 0, 0};
  return {outer, h, row, 0};
}

Index broadcast_index(const Field& field, const Index& index) {
  Index result = index;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    if (field.size(static_cast<int>(axis)) == 1) result[axis] = 0;
  }
  return result;
}

}  // namespace tilewise::conformance
