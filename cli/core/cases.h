// The cases of bench/cases/cases.json: the one list of shapes that bench, explain and tests take.
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
  // The length of each sequence of a packed case; both are empty for a dense batch.
  std::vector<std::int64_t> query_lengths, key_lengths;

  [[nodiscard]] bool is_packed() const { return !query_lengths.empty(); }
  [[nodiscard]] std::int64_t query_length(std::int64_t sequence) const;
  [[nodiscard]] std::int64_t key_length(std::int64_t sequence) const;
};

// Which optional tensors a case has.
struct Extras {
  std::vector<std::int64_t> bias;  // its shape; empty: none
  bool has_slopes = false, has_sinks = false;
};

// What a case is for: kQuick for tests, kUsual for benchmarks by default, kLong for benchmarks of
// long sequences, kBars for the promised speeds, kLengths for plots, kGpu for the promised speeds
// of GPUs.
enum class Tier { kQuick, kUsual, kLong, kBars, kLengths, kGpu };

struct Case {
  std::string name, about;
  Tier tier = Tier::kQuick;
  std::string dtype = "float32";
  Sizes sizes;
  // Here these hold no tensors; `extras` says which tensors the call gets.
  Mask mask;
  Scores scores;
  Dropout dropout;
  Extras extras;
};

// An option that is one real number: --NAME on the command line, and in a list of cases a field
// of the object `scores`. `put` stores the number in the case.
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

// Reads a list of cases. Throws std::invalid_argument, which names the case and the field.
[[nodiscard]] std::vector<Case> parse_cases(std::string_view text);

// The list built into this program, in its order.
[[nodiscard]] const std::vector<Case>& all_cases();

// Throws std::invalid_argument for an unknown name, with the names nearest to it.
[[nodiscard]] const Case& find_case(std::string_view name);
[[nodiscard]] std::vector<std::string> case_names();

[[nodiscard]] std::string_view tier_name(Tier tier);
[[nodiscard]] std::vector<std::string> tier_names();

[[nodiscard]] bool is_causal(const Mask& mask);

// The (query, key) pairs that the band leaves visible, over all heads and sequences.
[[nodiscard]] double visible_pairs(const Case& shape);

// Multiplications and additions of the products over visible pairs: two products forward, and five
// backward, which recomputes the scores. With dim == value_dim that is 4 and 10 per pair and dim.
[[nodiscard]] double operations(const Case& shape, bool backward);

}  // namespace tilewise::cli
