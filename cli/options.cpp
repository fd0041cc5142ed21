#include "cli/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include "cli/core/failure.h"
#include "cli/core/number.h"

namespace tilewise::cli {

Window parse_window(const std::string& text) {
  const std::size_t comma = text.find(',');
  const auto fail = [&]() {
    return Failure(kUsage,
                   fmt::format("--window takes LEFT,RIGHT, each a whole number or inf, as in "
                               "511,0; '{}' is not that",
                               text));
  };
  if (comma == std::string::npos) throw fail();
  const auto side = [&](const std::string& word) -> std::optional<std::int64_t> {
    if (word == "inf") return std::nullopt;
    const auto value = parse_integer(word);
    if (!value) throw fail();
    return value;
  };
  return {side(text.substr(0, comma)), side(text.substr(comma + 1))};
}

void AttentionOptions::add_to(std::vector<Option>& options) {
  const std::string group = "Attention";
  options.insert(
      options.end(),
      {{"--causal", "No query sees a later key; with --window, both hold", &causal, "", group},
       {"--window", "Keys seen to the left and right of the diagonal; inf: all", &window,
        "LEFT,RIGHT", group},
       {"--diagonal", "Where query 0 stands; a number is a key's index", &diagonal,
        "{bottom-right,top-left,NUMBER}", group},
       {"--chunk", "Keys of other chunks of this length are hidden", Integer{&chunk}, "KEYS",
        group}});
  for (std::size_t i = 0; i < reals.size(); ++i) {
    const RealOption& real = kRealOptions[i];
    options.push_back(
        {fmt::format("--{}", real.name), real.about, Real{&reals[i]}, "NUMBER", group});
  }
  options.push_back({"--seed", "Dropout's seed", Natural{&seed}, "NUMBER", group});
}

namespace {

// Refuses a window that hides every key. FlashAttention writes -1 for a side without a limit, so
// the message says how tilewise writes such a side.
void refuse_empty_window(const std::string& window, bool causal, const Mask& mask) {
  // Clamped so that the sum of the two sides cannot overflow.
  const auto near = [](std::int64_t side) {
    constexpr std::int64_t kFar = INT64_MAX / 2;
    return std::clamp(side, -kFar, kFar);
  };
  if (!mask.left || !mask.right || near(*mask.left) + near(*mask.right) >= 0) return;
  throw Failure(kUsage, fmt::format("--window {}{} hides every key. A side without a limit is inf, "
                                    "not -1: inf,0 is causal. A negative number moves that side "
                                    "past the diagonal, so that LEFT + RIGHT must be at least 0",
                                    window, causal ? " with --causal" : ""));
}

void apply_diagonal(const std::string& diagonal, Mask& mask) {
  if (diagonal == "bottom-right") {
    mask.diagonal = TW_BOTTOM_RIGHT;
  } else if (diagonal == "top-left") {
    mask.diagonal = TW_TOP_LEFT;
  } else if (const auto shift = parse_integer(diagonal)) {
    mask.diagonal = TW_SHIFTED;
    mask.shift = *shift;
  } else {
    throw Failure(kUsage,
                  fmt::format("--diagonal takes bottom-right, top-left or a whole number; '{}' is "
                              "none of these",
                              diagonal));
  }
}

}  // namespace

void AttentionOptions::apply(Case& shape) const {
  Mask& mask = shape.mask;
  if (!window.empty()) {
    const Window sides = parse_window(window);
    mask.left = sides.left;
    mask.right = sides.right;
  }
  // --causal and --window both hold: no key after the diagonal, and none outside the window.
  if (causal) mask.right = std::min<std::int64_t>(mask.right.value_or(0), 0);
  if (!window.empty()) refuse_empty_window(window, causal, mask);
  if (!diagonal.empty()) apply_diagonal(diagonal, mask);
  mask.chunk = chunk.value_or(mask.chunk);
  for (std::size_t i = 0; i < reals.size(); ++i) {
    if (reals[i]) kRealOptions[i].put(shape, *reals[i]);
  }
  shape.dropout.seed = seed.value_or(shape.dropout.seed);
}

void ShapeOptions::add_to(std::vector<Option>& options) {
  const std::string group = "Shape";
  const auto add = [&](const char* flag, std::optional<std::int64_t>& size, const char* about) {
    options.push_back({flag, about, Integer{&size}, "NUMBER", group});
  };
  options.push_back(
      {"--case", "Start from a case of the list (tilewise bench --list)", &name, "CASE", group});
  add("--batch", sizes.batch, "Sequences; 1 when not given");
  add("--heads", sizes.heads, "Query heads; 8 when not given");
  add("--key-heads", sizes.key_heads, "Key and value heads; as many as query heads");
  add("--length", sizes.length, "Queries and keys alike; 1024 when not given");
  add("--queries", sizes.queries, "Queries a sequence");
  add("--keys", sizes.keys, "Keys a sequence");
  add("--dim", sizes.dim, "The length of a query and a key; 64 when not given");
  add("--value-dim", sizes.value_dim, "The length of a value; as a key's");
  options.insert(
      options.end(),
      {{"--dtype", "The type of the elements; float32 when not given", &dtype, "DTYPE", group},
       {"--bias", "A bias of this shape: batch, heads, queries, keys, each may be 1", &bias,
        "B,H,Q,K", group},
       {"--alibi", "A bias by distance, one slope a head", &has_slopes, "", group},
       {"--sinks", "One more logit in each denominator", &has_sinks, "", group}});
}

void SizeOptions::apply(Sizes& sizes) const {
  sizes.batch = batch.value_or(sizes.batch);
  if (heads) sizes.key_heads = *heads;
  sizes.heads = heads.value_or(sizes.heads);
  sizes.key_heads = key_heads.value_or(sizes.key_heads);
  if (length) sizes.queries = sizes.keys = *length;
  sizes.queries = queries.value_or(sizes.queries);
  sizes.keys = keys.value_or(sizes.keys);
  if (dim) sizes.dim = sizes.value_dim = *dim;
  sizes.value_dim = value_dim.value_or(sizes.value_dim);
}

Case ShapeOptions::shape() const {
  Case shape;
  shape.sizes = {.heads = 8,
                 .key_heads = 8,
                 .queries = 1024,
                 .keys = 1024,
                 .dim = 64,
                 .value_dim = 64,
                 .query_lengths = {},
                 .key_lengths = {}};
  if (!name.empty()) {
    try {
      shape = find_case(name);
    } catch (const std::invalid_argument& error) {
      throw Failure(kUsage, error.what());
    }
  }
  const bool has_lengths = sizes.batch || sizes.length || sizes.queries || sizes.keys;
  if (shape.sizes.is_packed() && has_lengths) {
    throw Failure(kUsage, fmt::format("case {} is packed and has its own lengths; --batch, "
                                      "--length, --queries and --keys cannot change them",
                                      name));
  }
  sizes.apply(shape.sizes);
  if (!dtype.empty()) shape.dtype = dtype;
  if (!bias.empty()) shape.extras.bias = bias;
  for (const std::int64_t size : bias) {
    if (size < 0) throw Failure(kUsage, fmt::format("--bias takes sizes from 0 on, not {}", size));
  }
  if (bias.size() > 4) {
    throw Failure(kUsage, fmt::format("--bias takes four sizes, as in 1,8,1,1024; {} were given",
                                      bias.size()));
  }
  shape.extras.has_slopes |= has_slopes;
  shape.extras.has_sinks |= has_sinks;
  return shape;
}

Option device_option(std::string* place, const std::string& group) {
  return {"--device", "Where it runs; without, a GPU where one can be used, else the processor",
          place, "{cpu,cuda,cuda:N}", group};
}

void ExecutionOptions::add_to(std::vector<Option>& options) {
  const std::string group = "Execution";
  options.insert(
      options.end(),
      {device_option(&device, group),
       {"--backend", "Run on this one instead of the first that can", &backend, "BACKEND", group},
       {"--threads", "At most this many, on the processor; 0: all this process may use",
        Integer{&limit, 0, 4096}, "NUMBER", group}});
}

}  // namespace tilewise::cli
