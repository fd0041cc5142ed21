#include "loaded_calls.h"

namespace tilewise {

void fill(Attention& a, Setting setting) {
  if (setting == Setting::kPacked) {
    a.pack_queries();
    a.pack_keys();
  }
  if (setting == Setting::kPaged) a.page_keys();
  if (setting == Setting::kIndexed) a.index_keys();
  const std::int64_t keys = setting == Setting::kPaged ? 8 : 7;
  const std::int64_t queries = setting == Setting::kPacked ? 3 : 5;
  if (!a.keys.used.rank) a.keys.used = a.memory.integers({3, 6});
  a.keys.start = a.memory.short_integers({1, 2});
  a.queries.used = a.memory.integers({3, 2});
  a.queries.start = a.memory.integers({0, 1});
  a.mask.visible = a.memory.tensor(TW_BOOL, {2, 1, queries, keys});
  a.mask.blocks = a.memory.tensor(TW_BOOL, {1, 4, 1, 1});
  a.mask.block_query = a.mask.block_key = 16;
  a.scores.slopes = a.memory.tensor(TW_FLOAT32, {2, 4});
  a.scores.bias = a.memory.tensor(TW_FLOAT16, {2, 4, queries, 1});
  a.scores.sinks = a.memory.tensor(TW_FLOAT32, {4});
  a.scaling.query = a.memory.tensor(TW_FLOAT32, {2, 2});
  a.scaling.key = a.memory.tensor(TW_FLOAT32, {1, 2});
  a.scaling.value = a.memory.tensor(TW_FLOAT32, {2, 1});
  if (a.operation != TW_BACKWARD) return;
  a.scaling.output_gradient = a.memory.tensor(TW_FLOAT32, {2, 2});
  a.gradients.lse = a.request.lse;
  a.gradients.bias = a.memory.tensor(TW_FLOAT32, {2, 4, queries, 1});
  a.gradients.slopes = a.memory.tensor(TW_FLOAT32, {2, 4});
  a.gradients.sinks = a.memory.tensor(TW_FLOAT32, {4});
}

namespace {

Tensors inputs_of(Attention& a) {
  Tensors all = {{"query", &a.request.query},
                 {"key", &a.request.key},
                 {"value", &a.request.value},
                 {"queries.offsets", &a.queries.offsets},
                 {"queries.used", &a.queries.used},
                 {"queries.start", &a.queries.start},
                 {"keys.offsets", &a.keys.offsets},
                 {"keys.used", &a.keys.used},
                 {"keys.start", &a.keys.start},
                 {"cache.page_table", &a.cache.page_table},
                 {"cache.batch_index", &a.cache.batch_index},
                 {"mask.visible", &a.mask.visible},
                 {"mask.blocks", &a.mask.blocks},
                 {"scores.slopes", &a.scores.slopes},
                 {"scores.bias", &a.scores.bias},
                 {"scores.sinks", &a.scores.sinks},
                 {"scaling.query", &a.scaling.query},
                 {"scaling.key", &a.scaling.key},
                 {"scaling.value", &a.scaling.value},
                 {"scaling.output_gradient", &a.scaling.output_gradient},
                 {"gradients.output", &a.gradients.output},
                 {"gradients.lse", &a.gradients.lse}};
  if (a.operation == TW_BACKWARD) {
    all.push_back({"output", &a.request.output});
    all.push_back({"lse", &a.request.lse});
  }
  std::erase_if(all, [](const Named& named) { return named.tensor->rank == 0; });
  return all;
}

}  // namespace

Tensors outputs_of(Attention& a) {
  if (a.operation == TW_FORWARD) {
    return {{"output", &a.request.output}, {"lse", &a.request.lse}};
  }
  return {{"gradients.query", &a.gradients.query},   {"gradients.key", &a.gradients.key},
          {"gradients.value", &a.gradients.value},   {"gradients.bias", &a.gradients.bias},
          {"gradients.slopes", &a.gradients.slopes}, {"gradients.sinks", &a.gradients.sinks}};
}

Tensors tensors_of(Attention& a) {
  Tensors all = inputs_of(a);
  for (const Named& named : outputs_of(a)) all.push_back(named);
  return all;
}

}  // namespace tilewise
