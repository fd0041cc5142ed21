// What of a request for attention can be spoiled, what its tensors are to it, what it costs to run.
#include <algorithm>
#include <cstring>

#include "fuzz/attention.h"

namespace tilewise::fuzz {
namespace {

// Rows of all sequences together, of a tensor whose last two dimensions are heads and dim.
double rows_of(const tw_tensor& tensor) {
  double rows = 1;
  for (std::int32_t axis = 0; axis + 2 < std::min(tensor.rank, 6); ++axis)
    rows *= static_cast<double>(tensor.shape[axis]);
  return rows;
}

template <class T>
void add_struct(Roomy<T>& some, const T*& pointer, Surface& all) {
  all.add(some);
  all.add_pointer(pointer);
}

void add_mask(tw_mask& mask, Surface& all) {
  all.tensors.push_back({"mask.visible", &mask.visible, false});
  all.tensors.push_back({"mask.blocks", &mask.blocks, false});
  for (std::int32_t* word :
       {&mask.has_left, &mask.has_right, &mask.diagonal, &mask.block_query, &mask.block_key})
    all.words.push_back(word);
  for (std::int64_t* number : {&mask.left, &mask.right, &mask.shift, &mask.chunk})
    all.numbers.push_back(number);
}

void add_scores(tw_scores& scores, Surface& all) {
  all.tensors.push_back({"scores.slopes", &scores.slopes, false});
  all.tensors.push_back({"scores.bias", &scores.bias, false});
  all.tensors.push_back({"scores.sinks", &scores.sinks, false});
  all.words.push_back(&scores.has_scale);
  all.reals.push_back(&scores.scale);
  all.reals.push_back(&scores.softcap);
}

void add_dropout(tw_dropout& dropout, Surface& all) {
  all.reals.push_back(&dropout.probability);
  for (std::int64_t& base : dropout.base) all.numbers.push_back(&base);
  all.add_pointer(dropout.state);
  all.forget.emplace_back([&dropout] {  // between two numbers, and aligned for none
    if (!dropout.state) return;
    const auto* bytes = reinterpret_cast<const std::byte*>(dropout.state) + 4;
    std::memcpy(&dropout.state, &bytes, sizeof bytes);
  });
}

void add_side(const char* name, tw_sequences& side, Surface& all) {
  all.tensors.push_back({name, &side.offsets, false});
  all.tensors.push_back({name, &side.used, false});
  all.tensors.push_back({name, &side.start, false});
  all.numbers.push_back(&side.max_length);
}

void add_cache(tw_cache& cache, Surface& all) {
  all.tensors.push_back({"cache.page_table", &cache.page_table, false});
  all.tensors.push_back({"cache.batch_index", &cache.batch_index, false});
}

void add_scaling(tw_operation operation, tw_scaling& scaling, Surface& all) {
  all.tensors.push_back({"scaling.query", &scaling.query, false});
  all.tensors.push_back({"scaling.key", &scaling.key, false});
  if (operation != TW_PROBABILITIES)
    all.tensors.push_back({"scaling.value", &scaling.value, false});
  all.tensors.push_back({"scaling.output_gradient", &scaling.output_gradient, false});
}

void add_options(tw_operation operation, Options& options, Surface& all) {
  tw_options& o = options.all.known;
  all.words.push_back(&o.deterministic);
  if (o.mask) add_mask(options.mask.known, all);
  if (o.scores) add_scores(options.scores.known, all);
  if (o.dropout) add_dropout(options.dropout.known, all);
  if (o.queries) add_side("queries", options.queries.known, all);
  if (o.keys) add_side("keys", options.keys.known, all);
  if (o.cache) add_cache(options.cache.known, all);
  if (o.scaling) add_scaling(operation, options.scaling.known, all);
  add_struct(options.mask, o.mask, all);
  add_struct(options.scores, o.scores, all);
  add_struct(options.dropout, o.dropout, all);
  add_struct(options.queries, o.queries, all);
  add_struct(options.keys, o.keys, all);
  add_struct(options.cache, o.cache, all);
  add_struct(options.scaling, o.scaling, all);
}

void add_gradients(tw_gradients& g, Surface& all) {
  for (const Part& part :
       {Part{"gradients.output", &g.output, false}, Part{"gradients.lse", &g.lse, false},
        Part{"gradients.query", &g.query, true}, Part{"gradients.key", &g.key, true},
        Part{"gradients.value", &g.value, true}, Part{"gradients.bias", &g.bias, true},
        Part{"gradients.slopes", &g.slopes, true}, Part{"gradients.sinks", &g.sinks, true}})
    all.tensors.push_back(part);
}

}  // namespace

Surface Attention::surface() {
  tw_request& r = request.known;
  const bool writes = operation != TW_BACKWARD;
  Surface all;
  all.add(request);
  all.tensors = {{"query", &r.query, false}, {"key", &r.key, false}, {"output", &r.output, writes}};
  if (operation != TW_PROBABILITIES) {
    all.tensors.push_back({"value", &r.value, false});
    all.tensors.push_back({"lse", &r.lse, writes});
  }
  if (r.options) add_options(operation, options, all);
  if (r.gradients) add_gradients(gradients.known, all);
  add_struct(options.all, r.options, all);
  add_struct(gradients, r.gradients, all);
  return all;
}

double Attention::cost() const {
  const tw_request& r = request.known;
  // A page or a row of a cache may be seen many times over.
  const double times =
      1 + elements(options.cache.known.page_table) + elements(options.cache.known.batch_index);
  const auto from_end = [](const tw_tensor& tensor, std::int32_t axis) {
    return static_cast<double>(tensor.shape[std::clamp(tensor.rank - axis, 0, 3)]);
  };
  return from_end(r.query, 2) * (1 + rows_of(r.query)) * (1 + rows_of(r.key)) * times * widest();
}

double Attention::widest() const {
  const tw_request& r = request.known;
  const auto dim = [](const tw_tensor& tensor) {
    return static_cast<double>(tensor.shape[std::clamp(tensor.rank - 1, 0, 3)]);
  };
  return std::max({dim(r.query), dim(r.value), 1.0});
}

}  // namespace tilewise::fuzz
