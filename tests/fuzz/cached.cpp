#include "fuzz/cached.h"

namespace tilewise::fuzz {
namespace {

void add_sequences(const char* name, Roomy<tw_sequences>& sequences, Surface& all) {
  all.add(sequences);
  all.tensors.push_back({name, &sequences.known.offsets, false});
  all.tensors.push_back({name, &sequences.known.used, false});
  all.tensors.push_back({name, &sequences.known.start, false});
  all.numbers.push_back(&sequences.known.max_length);
}

void add_rotation(Roomy<tw_rotation>& rotation, Surface& all) {
  all.add(rotation);
  all.tensors.push_back({"rotation.cosine", &rotation.known.cosine, false});
  all.tensors.push_back({"rotation.sine", &rotation.known.sine, false});
  all.words.push_back(&rotation.known.interleaved);
}

void draw_rotation(Bytes& bytes, Drawing& draw, std::int64_t dim, tw_rotation& rotation) {
  const Shape table{bytes.from(20, 60), 1 + bytes.byte() % std::max<std::int64_t>(1, dim / 2)};
  rotation.cosine = draw.input(draw.float_type(), table);
  rotation.sine = draw.input(draw.float_type(), table);
  rotation.interleaved = bytes.bit();
}

// Rows of a side that is packed or dense; dense ones may be used in part.
Shape draw_rows(Bytes& bytes, Drawing& draw, std::int64_t batch, tw_sequences& sequences) {
  const std::int64_t most = bytes.from(0, 9);
  const std::uint8_t features = bytes.byte();
  if ((features & 1) != 0) {
    std::int64_t longest = 0;
    const Shape offsets = draw.offsets(batch, most, longest);
    sequences.offsets = draw.integers(offsets);
    return {offsets.back() + bytes.from(0, 2)};
  }
  if ((features & 2) != 0) sequences.used = draw.integers(draw.lengths(batch, most));
  return {batch, most};
}

Shape with(Shape rows, std::int64_t heads, std::int64_t dim) {
  rows.push_back(heads);
  rows.push_back(dim);
  return rows;
}

}  // namespace

Rotary::Rotary(Bytes& bytes, Memory& memory) {
  Drawing draw(bytes, memory);
  tw_rotary_request& r = request.known;
  r.rotation = &rotation.known;
  r.sequences = &sequences.known;
  const std::int64_t batch = bytes.from(0, 3), heads = bytes.from(1, 3), dim = bytes.from(2, 9);
  draw_rotation(bytes, draw, dim, rotation.known);
  const Shape shape = with(draw_rows(bytes, draw, batch, sequences.known), heads, dim);
  r.input = draw.input(draw.float_type(), shape);
  r.output = draw.output(draw.float_type(), shape);
  if (bytes.flag()) r.positions = draw.integers(draw.lengths(batch, 12));
  r.fixed = bytes.bit();
  r.inverse = bytes.bit();
}

Surface Rotary::surface() {
  tw_rotary_request& r = request.known;
  Surface all;
  all.add(request);
  all.tensors = {
      {"input", &r.input, false}, {"output", &r.output, true}, {"positions", &r.positions, false}};
  all.words = {&r.fixed, &r.inverse};
  all.add_pointer(r.rotation);
  all.add_pointer(r.sequences);
  if (r.sequences) add_sequences("sequences", sequences, all);
  if (r.rotation) add_rotation(rotation, all);
  return all;
}

Append::Append(Bytes& bytes, Memory& memory) {
  Drawing draw(bytes, memory);
  tw_append_request& r = request.known;
  r.keys = &keys.known;
  r.cache = &cache.known;
  const std::int64_t batch = bytes.from(0, 3), heads = bytes.from(1, 2);
  const std::int64_t dim = bytes.from(2, 6), value_dim = bytes.from(1, 6);
  const Shape rows = draw_rows(bytes, draw, batch, keys.known);
  r.key = draw.input(draw.float_type(), with(rows, heads, dim));
  r.value = draw.input(draw.float_type(), with(rows, heads, value_dim));
  r.lengths = draw.integers(draw.lengths(batch, 9));

  const std::uint8_t storage = bytes.byte() % 3;
  Shape cached{batch, bytes.from(9, 20)};
  Shape places;
  const std::int64_t columns = storage == 1 ? 5 : 1;
  for (std::int64_t n = 0; n < batch * columns; ++n) places.push_back(n);
  if (storage == 1) {
    cached = {batch * columns, 4};
    cache.known.page_table = draw.integers(places);
    tw_tensor& table = cache.known.page_table;
    table.rank = 2;
    table.shape[1] = table.stride[0] = columns;
    table.shape[0] = batch;
    table.stride[1] = 1;
  } else if (storage == 2) {
    cached[0] += 1;
    cache.known.batch_index = draw.integers(places);
  }
  r.key_cache = draw.output(draw.float_type(), with(cached, heads, dim));
  r.value_cache = draw.output(draw.float_type(), with(cached, heads, value_dim));

  const std::uint8_t features = bytes.byte();
  if ((features & 1) == 0) return;
  r.rotation = &rotation.known;
  draw_rotation(bytes, draw, dim, rotation.known);
  if ((features & 2) == 0) return;
  r.queries = &queries.known;
  const Shape turned = with(draw_rows(bytes, draw, batch, queries.known), bytes.from(1, 3), dim);
  r.query = draw.input(draw.float_type(), turned);
  r.rotated_query = draw.output(draw.float_type(), turned);
  r.fixed_query = bytes.bit();
}

Surface Append::surface() {
  tw_append_request& r = request.known;
  Surface all;
  all.add(request);
  all.add(cache);
  all.tensors = {{"key", &r.key, false},
                 {"value", &r.value, false},
                 {"key_cache", &r.key_cache, true},
                 {"value_cache", &r.value_cache, true},
                 {"lengths", &r.lengths, false},
                 {"query", &r.query, false},
                 {"rotated_query", &r.rotated_query, true}};
  if (r.cache) {
    all.tensors.push_back({"cache.page_table", &cache.known.page_table, false});
    all.tensors.push_back({"cache.batch_index", &cache.known.batch_index, false});
  }
  all.words = {&r.fixed_query};
  all.add_pointer(r.keys);
  all.add_pointer(r.cache);
  all.add_pointer(r.rotation);
  all.add_pointer(r.queries);
  if (r.keys) add_sequences("keys", keys, all);
  if (r.queries) add_sequences("queries", queries, all);
  if (r.rotation) add_rotation(rotation, all);
  return all;
}

Merge::Merge(Bytes& bytes, Memory& memory) {
  Drawing draw(bytes, memory);
  tw_merge_request& r = request.known;
  r.outputs = outputs.data();
  r.lses = lses.data();
  r.parts = bytes.from(1, kMostParts);
  const std::int64_t batch = bytes.from(0, 3), heads = bytes.from(1, 3), dim = bytes.from(1, 5);
  const std::int64_t length = bytes.from(0, 9);
  const bool packed = bytes.flag();
  const Shape output = packed ? Shape{length, heads, dim} : Shape{batch, length, heads, dim};
  const Shape lse = packed ? Shape{heads, length} : Shape{batch, heads, length};
  const auto wide = [&] { return bytes.flag() ? TW_FLOAT64 : TW_FLOAT32; };
  for (std::size_t part = 0; part < kMostParts; ++part) {
    outputs[part] = draw.input(draw.float_type(), output);
    lses[part] = draw.input(wide(), lse);
  }
  r.output = draw.output(draw.float_type(), output);
  if (bytes.flag()) r.lse = draw.output(wide(), lse);
  if (bytes.flag()) r.sinks = draw.input(wide(), {heads});
}

Surface Merge::surface() {
  tw_merge_request& r = request.known;
  Surface all;
  all.add(request);
  all.tensors = {{"output", &r.output, true}, {"lse", &r.lse, true}, {"sinks", &r.sinks, false}};
  for (std::size_t part = 0; static_cast<std::int64_t>(part) < r.parts; ++part) {
    all.tensors.push_back({"outputs", &outputs[part], false});
    all.tensors.push_back({"lses", &lses[part], false});
  }
  all.numbers = {&r.parts};
  all.add_pointer(r.outputs);
  all.add_pointer(r.lses);
  return all;
}

}  // namespace tilewise::fuzz
