// The shapes of bench/cases: the one list that bench, explain and the tests of the command line
// read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tilewise/tilewise.hpp"

namespace tilewise::cli {

struct Sizes {
  std::int64_t batch = 1, heads = 1, key_heads = 1;
  std::int64_t queries = 0, keys = 0;  // packed: of the longest sequence
  std::int64_t dim = 0, value_dim = 0;
  // Packed cases: how long each sequence is. Both empty for a dense batch.
  std::vector<std::int64_t> query_lengths, key_lengths;

  [[nodiscard]] bool is_packed() const { return !query_lengths.empty(); }
  [[nodiscard]] std::int64_t query_length(std::int64_t sequence) const;
  [[nodiscard]] std::int64_t key_length(std::int64_t sequence) const;
};

// Tensors of a case that are no operands.
struct Extras {
  std::vector<std::int64_t> bias;  // its shape; empty: none
  bool has_slopes = false, has_sinks = false;
};

// What a case is for: tests run the quick ones, a benchmark the usual ones unless told otherwise.
// Bars are what speed is promised for, lengths what plots need besides, and the last are the bars
// of GPUs.
enum class Tier { kQuick, kUsual, kLong, kBars, kLengths, kGpu };

struct Case {
  std::string name, about;
  Tier tier = Tier::kQuick;
  std::string dtype = "float32";
  Sizes sizes;
  // Without their tensors.
  Mask mask;
  Scores scores;
  Dropout dropout;
  Extras extras;
};

// An option that is one real number: its name, --NAME in the command line and a field of a case's
// scores, what it does, and where it goes.
struct RealOption {
  const char *name, *about;
  void (*put)(Case& shape, double number);
};
inline constexpr RealOption kRealOptions[] = {
    {"scale", "Scores are scale * q.k; without, 1/sqrt(dim)",
     [](Case& shape, double number) { shape.scores.scale = number; }},
    {"softcap", "Scores become cap * tanh(score / cap)",
     [](Case& shape, double number) { shape.scores.softcap = number; }},
    {"dropout", "The part of the probabilities that is dropped",
     [](Case& shape, double number) { shape.dropout.probability = number; }},
};

// Reads a list of cases; throws std::invalid_argument with a sentence that names the case and
// field.
[[nodiscard]] std::vector<Case> parse_cases(std::string_view text);

// The list built into this program, in its own order.
[[nodiscard]] const std::vector<Case>& all_cases();

// Throws std::invalid_argument that names what is near.
[[nodiscard]] const Case& find_case(std::string_view name);
[[nodiscard]] std::vector<std::string> case_names();

[[nodiscard]] std::string_view tier_name(Tier tier);
[[nodiscard]] std::vector<std::string> tier_names();

[[nodiscard]] bool is_causal(const Mask& mask);

// How many (query, key) pairs the band leaves visible, over all heads and sequences.
[[nodiscard]] double visible_pairs(const Case& shape);

// Multiplications and additions in the products over visible pairs: two products forward; five
// backward, which recomputes the scores. With dim == value_dim: 4 and 10 per pair and dim.
[[nodiscard]] double operations(const Case& shape, bool backward);

}  // namespace tilewise::cli
