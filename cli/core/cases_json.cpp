// Reads bench/cases/cases.json, strictly: a misspelt field must not silently give another shape.
#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <type_traits>

#include "cli/core/cases.h"
#include "cli/core/json.h"
#include "cli/core/nearest.h"

namespace tilewise::cli {
namespace {

// A JSON object being read. It remembers which fields were asked for, so that others are refused.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) fail("must be a JSON object");
  }

  template <class T>
  T get(const std::string& name, T otherwise) {
    known_.push_back(name);
    if (!object_.contains(name)) return otherwise;
    if (std::is_integral_v<T> && !std::is_same_v<T, bool> && !object_.at(name).is_whole()) {
      fail(fmt::format("has a '{}' that is no whole number", name));
    }
    try {
      return object_.at(name).get<T>();
    } catch (const JsonError&) {
      fail(fmt::format("has a '{}' of the wrong type", name));
    }
  }

  template <class T>
  std::optional<T> get_optional(const std::string& name) {
    if (!has(name)) return std::nullopt;
    return get<T>(name, T{});
  }

  std::int64_t get_size(const std::string& name, std::optional<std::int64_t> otherwise) {
    if (!has(name) && !otherwise) fail(fmt::format("needs '{}'", name));
    const std::int64_t size = get<std::int64_t>(name, otherwise.value_or(0));
    if (size < 0) fail(fmt::format("has {} = {}; sizes are not negative", name, size));
    return size;
  }

  [[nodiscard]] bool has(const std::string& name) {
    known_.push_back(name);
    return object_.contains(name);
  }

  [[nodiscard]] const Json& child(const std::string& name) const { return object_.at(name); }
  [[nodiscard]] const std::string& where() const { return where_; }

  void refuse_unknown() const {
    for (const std::string& name : object_.names()) {
      if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
        const std::set<std::string> names(known_.begin(), known_.end());
        fail(no_such("field", name, {names.begin(), names.end()}));
      }
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument(fmt::format("{}: {}", where_, what));
  }

 private:
  const Json& object_;
  std::string where_;
  std::vector<std::string> known_;
};

using Lengths = std::vector<std::int64_t>;

Sizes read_sizes(Fields& fields) {
  Sizes sizes;
  sizes.query_lengths = fields.get<Lengths>("query_lengths", {});
  sizes.key_lengths = fields.get<Lengths>("key_lengths", sizes.query_lengths);
  if (sizes.query_lengths.size() != sizes.key_lengths.size()) {
    fields.fail("must have as many key_lengths as query_lengths");
  }
  for (const Lengths* lengths : {&sizes.query_lengths, &sizes.key_lengths}) {
    if (std::any_of(lengths->begin(), lengths->end(), [](auto length) { return length < 0; })) {
      fields.fail("has a negative length");
    }
  }
  sizes.heads = fields.get_size("heads", 1);
  sizes.key_heads = fields.get_size("key_heads", sizes.heads);
  sizes.dim = fields.get_size("dim", std::nullopt);
  sizes.value_dim = fields.get_size("value_dim", sizes.dim);
  if (sizes.key_heads == 0 || sizes.heads % sizes.key_heads != 0) {
    fields.fail("must have a number of heads that is a multiple of key_heads");
  }
  if (sizes.is_packed()) {
    sizes.batch = static_cast<std::int64_t>(sizes.query_lengths.size());
    sizes.queries = *std::max_element(sizes.query_lengths.begin(), sizes.query_lengths.end());
    sizes.keys = *std::max_element(sizes.key_lengths.begin(), sizes.key_lengths.end());
  } else {
    sizes.batch = fields.get_size("batch", 1);
    sizes.queries = fields.get_size("queries", std::nullopt);
    sizes.keys = fields.get_size("keys", sizes.queries);
  }
  return sizes;
}

Mask read_mask(const Json& json, const std::string& where) {
  Fields fields(json, where + ", mask");
  Mask mask;
  mask.left = fields.get_optional<std::int64_t>("left");
  mask.right = fields.get_optional<std::int64_t>("right");
  mask.chunk = fields.get_size("chunk", 0);
  if (const auto shift = fields.get_optional<std::int64_t>("shift")) {
    mask.diagonal = TW_SHIFTED;
    mask.shift = *shift;
  }
  if (const auto diagonal = fields.get_optional<std::string>("diagonal")) {
    if (mask.diagonal == TW_SHIFTED || *diagonal != "top-left") {
      fields.fail("takes a diagonal of 'top-left' or else a shift; without, it is bottom-right");
    }
    mask.diagonal = TW_TOP_LEFT;
  }
  fields.refuse_unknown();
  return mask;
}

void read_scores(const Json& json, const std::string& where, Case& shape) {
  Fields fields(json, where + ", scores");
  for (const RealOption& real : kRealOptions) {
    if (fields.has(real.name)) real.put(shape, fields.get<double>(real.name, 0));
  }
  shape.extras.bias = fields.get<std::vector<std::int64_t>>("bias", {});
  shape.extras.has_slopes = fields.get<bool>("alibi", false);
  shape.extras.has_sinks = fields.get<bool>("sinks", false);
  shape.dropout.seed = fields.get<std::uint64_t>("seed", 0);
  shape.dropout.offset = fields.get<std::uint64_t>("offset", 0);
  fields.refuse_unknown();
}

Tier read_tier(Fields& fields) {
  const std::string given = fields.get<std::string>("tier", "");
  for (const Tier tier :
       {Tier::kQuick, Tier::kUsual, Tier::kLong, Tier::kBars, Tier::kLengths, Tier::kGpu}) {
    if (given == tier_name(tier)) return tier;
  }
  fields.fail(no_such("tier", given, tier_names()));
}

Case read_case(const Json& json) {
  const Json* name = json.find("name");
  const bool is_named = name != nullptr && name->is_string();
  Fields fields(json, is_named ? "case " + name->get<std::string>() : "a case");
  Case shape;
  shape.name = fields.get<std::string>("name", "");
  if (shape.name.empty()) fields.fail("needs a name");
  shape.about = fields.get<std::string>("about", "");
  shape.tier = read_tier(fields);
  shape.dtype = fields.get<std::string>("dtype", shape.dtype);
  shape.sizes = read_sizes(fields);
  if (fields.has("mask")) shape.mask = read_mask(fields.child("mask"), fields.where());
  if (fields.has("scores")) read_scores(fields.child("scores"), fields.where(), shape);
  fields.refuse_unknown();
  return shape;
}

}  // namespace

std::vector<Case> parse_cases(std::string_view text) {
  const auto list = parse_json(text);
  if (!list || !list->is_array()) throw std::invalid_argument("the cases must be a JSON list");
  std::vector<Case> cases;
  std::set<std::string> names;
  for (const Json& json : list->values()) {
    cases.push_back(read_case(json));
    if (!names.insert(cases.back().name).second) {
      throw std::invalid_argument(fmt::format("two cases are named {}", cases.back().name));
    }
  }
  return cases;
}

}  // namespace tilewise::cli
