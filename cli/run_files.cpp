#include "cli/run_files.h"

#include <fmt/core.h>

#include "cli/core/element.h"
#include "cli/core/failure.h"

namespace tilewise::cli {

const std::vector<InputFile>& input_files() {
  static const std::vector<InputFile> files{
      {"--query", "(batch, queries, heads, dim); packed: (tokens, heads, dim)",
       [](Call& call) { return &call.request.query; }},
      {"--key", "(batch, keys, key heads, dim); packed: (tokens, key heads, dim)",
       [](Call& call) { return &call.request.key; }},
      {"--value", "(batch, keys, key heads, value dim), or packed",
       [](Call& call) { return &call.request.value; }},
      {"--bias", "Added to the scores: (batch|1, heads|1, queries|1, keys|1)",
       [](Call& call) { return &call.scores.bias; }},
      {"--mask", "What is visible, bool: (batch|1, heads|1, queries|1, keys|1)",
       [](Call& call) { return &call.mask.visible; }},
      {"--blocks", "Which blocks are visible, bool; with --block-size",
       [](Call& call) { return &call.mask.blocks; }},
      {"--slopes", "ALiBi's slopes, float32: (heads) or (batch, heads)",
       [](Call& call) { return &call.scores.slopes; }},
      {"--sinks", "One more logit in each denominator, float32: (heads)",
       [](Call& call) { return &call.scores.sinks; }},
      {"--query-offsets", "Where packed query sequences begin: (batch + 1)",
       [](Call& call) { return &call.queries.offsets; }},
      {"--key-offsets", "Where packed key sequences begin: (batch + 1)",
       [](Call& call) { return &call.keys.offsets; }},
      {"--query-lengths", "How many rows of each sequence count: (batch)",
       [](Call& call) { return &call.queries.used; }},
      {"--key-lengths", "How many keys of each sequence count: (batch)",
       [](Call& call) { return &call.keys.used; }},
      {"--query-starts", "The first row of each sequence that counts: (batch)",
       [](Call& call) { return &call.queries.start; }},
      {"--key-starts", "The first key of each sequence that counts: (batch)",
       [](Call& call) { return &call.keys.start; }},
      {"--page-table", "Keys and values lie in pages: (batch, columns)",
       [](Call& call) { return &call.cache.page_table; }},
      {"--batch-index", "The row of key and value for each sequence: (batch)",
       [](Call& call) { return &call.cache.batch_index; }},
      {"--output-gradient", "The gradient that arrives at the output; asks for gradients",
       [](Call& call) { return &call.gradients.output; }},
      {"--lse-gradient", "The gradient that arrives at lse",
       [](Call& call) { return &call.gradients.lse; }},
  };
  return files;
}

const std::vector<OutputFile>& output_files() {
  static const std::vector<OutputFile> files{
      {"--output", "The attention's result", [](Call& call) { return &call.request.output; },
       nullptr},
      {"--lse", "The logarithm of each softmax's denominator",
       [](Call& call) { return &call.request.lse; }, nullptr},
      {"--query-gradient", "The query's gradient", [](Call& call) { return &call.gradients.query; },
       [](Call& call) { return &call.request.query; }},
      {"--key-gradient", "The key's gradient", [](Call& call) { return &call.gradients.key; },
       [](Call& call) { return &call.request.key; }},
      {"--value-gradient", "The value's gradient", [](Call& call) { return &call.gradients.value; },
       [](Call& call) { return &call.request.value; }},
      {"--bias-gradient", "The bias's gradient", [](Call& call) { return &call.gradients.bias; },
       [](Call& call) { return &call.scores.bias; }},
      {"--slopes-gradient", "The slopes' gradient",
       [](Call& call) { return &call.gradients.slopes; },
       [](Call& call) { return &call.scores.slopes; }},
      {"--sinks-gradient", "The sinks' gradient", [](Call& call) { return &call.gradients.sinks; },
       [](Call& call) { return &call.scores.sinks; }},
  };
  return files;
}

std::vector<NpyArray> read_inputs(const Paths& paths, const FileTypes& types, Call& call) {
  std::vector<NpyArray> arrays;
  for (const InputFile& file : input_files()) {
    const std::string& path = paths.at(file.flag);
    if (path.empty()) continue;
    arrays.push_back(read_npy(path));
    *file.place(call) = tensor_of(arrays.back(), types.is_uint16_bfloat16);
  }
  return arrays;
}

namespace {

using Shape = std::vector<std::int64_t>;

// Shapes output and lse, which are always computed because backward reads both.
void shape_results(const FileTypes& types, Call& call) {
  const tw_tensor& query = call.request.query;
  const tw_tensor& value = call.request.value;
  if ((query.rank != 3 && query.rank != 4) || value.rank != query.rank) {
    // A paged cache has four dimensions even if the queries are packed.
    const bool is_paged = value.rank == 4 && call.cache.page_table.rank != 0 && query.rank == 3;
    if (!is_paged) {
      throw Failure(kUsage,
                    fmt::format("the query has {} dimensions and the value {}; both have 4 (batch, "
                                "length, heads, dim), or 3 (tokens, heads, dim) when packed",
                                query.rank, value.rank));
    }
  }
  const bool is_packed = query.rank == 3;
  const std::int64_t value_dim = value.shape[value.rank - 1];
  const std::int64_t* size = query.shape;
  call.request.output = dense_tensor(
      types.output.empty() ? query.dtype : dtype_from_name(types.output),
      is_packed ? Shape{size[0], size[1], value_dim} : Shape{size[0], size[1], size[2], value_dim});
  call.request.lse =
      dense_tensor(query.dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32,
                   is_packed ? Shape{size[1], size[0]} : Shape{size[0], size[2], size[1]});
}

}  // namespace

void shape_outputs(const Paths& paths, const FileTypes& types, Call& call) {
  shape_results(types, call);
  for (const OutputFile& file : output_files()) {
    if (file.like == nullptr || paths.at(file.flag).empty()) continue;
    const tw_tensor& like = *file.like(call);
    if (like.rank == 0) {
      throw Failure(kUsage, fmt::format("{} asks for the gradient of something that was not given",
                                        file.flag));
    }
    *file.place(call) =
        dense_tensor(like.dtype, std::span(like.shape, static_cast<std::size_t>(like.rank)));
  }
}

void Results::allocate(Call& call) {
  for (const OutputFile& file : output_files()) {
    tw_tensor& tensor = *file.place(call);
    if (tensor.rank == 0) continue;
    memory_.emplace_back(static_cast<std::size_t>(tensor.byte_size));
    tensor.data = memory_.back().data();
  }
}

void Results::write(const Paths& paths, const std::string& bfloat16_type, Call& call,
                    OutputFiles& files) const {
  for (const OutputFile& file : output_files()) {
    const std::string& path = paths.at(file.flag);
    if (path.empty()) continue;
    const tw_tensor& tensor = *file.place(call);
    const Shape shape(tensor.shape, tensor.shape + tensor.rank);
    files.write(
        path, make_npy_prelude(npy_type(tensor.dtype, bfloat16_type), shape),
        {static_cast<const std::byte*>(tensor.data), static_cast<std::size_t>(tensor.byte_size)});
  }
}

}  // namespace tilewise::cli
