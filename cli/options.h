// Options that several commands share, and what they become: a case's mask, scores and sizes.
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "cli/core/cases.h"
#include "cli/core/device.h"
#include "cli/option.h"

namespace tilewise::cli {

// Who sees whom and how scores are made; what both a shape and a set of files need.
struct AttentionOptions {
  bool causal = false;
  std::string window, diagonal;
  std::optional<std::int64_t> chunk;
  std::array<std::optional<double>, std::size(kRealOptions)> reals;
  std::optional<std::uint64_t> seed;

  void add_to(std::vector<Option>& options);
  // Overrides what was asked for; contradictions are a Failure.
  void apply(Case& shape) const;
};

struct SizeOptions {
  std::optional<std::int64_t> batch, heads, key_heads, length, queries, keys, dim, value_dim;

  void apply(Sizes& sizes) const;
};

// A shape given by a case of the list, by numbers, or by a case with some numbers changed.
struct ShapeOptions {
  std::string name, dtype;
  SizeOptions sizes;
  std::vector<std::int64_t> bias;
  bool has_slopes = false, has_sinks = false;

  void add_to(std::vector<Option>& options);
  [[nodiscard]] Case shape() const;
};

// The option --device, which fills in `place`.
[[nodiscard]] Option device_option(std::string* place, const std::string& group = "Options");

// Where it runs, by which backend, and on how many threads.
struct ExecutionOptions {
  std::string device, backend;
  std::optional<std::int64_t> limit;  // of threads

  [[nodiscard]] std::int32_t threads() const {
    return static_cast<std::int32_t>(limit.value_or(0));
  }
  [[nodiscard]] Device chosen() const { return chosen_device({device, backend, threads()}); }
  void add_to(std::vector<Option>& options);
};

// "128,0", "inf,64": left and right; nullopt for "inf". What cannot be read is a Failure.
struct Window {
  std::optional<std::int64_t> left, right;
};
[[nodiscard]] Window parse_window(const std::string& text);

}  // namespace tilewise::cli
