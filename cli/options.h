// Options that several commands share, and how they fill a case's mask, scores and sizes.
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

// Options of the mask, the scores and dropout, for commands that take a shape or files.
struct AttentionOptions {
  bool causal = false;
  std::string window, diagonal;
  std::optional<std::int64_t> chunk;
  std::array<std::optional<double>, std::size(kRealOptions)> reals;
  std::optional<std::uint64_t> seed;

  void add_to(std::vector<Option>& options);
  // Overrides the case's values by the options given; contradictions are a Failure.
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

// The device, the backend and the number of threads.
struct ExecutionOptions {
  std::string device, backend;
  std::optional<std::int64_t> limit;  // of threads

  [[nodiscard]] std::int32_t threads() const {
    return static_cast<std::int32_t>(limit.value_or(0));
  }
  [[nodiscard]] Device chosen() const { return chosen_device({device, backend, threads()}); }
  void add_to(std::vector<Option>& options);
};

// Reads "128,0" or "inf,64" as left and right; nullopt stands for "inf". Other text is a Failure.
struct Window {
  std::optional<std::int64_t> left, right;
};
[[nodiscard]] Window parse_window(const std::string& text);

}  // namespace tilewise::cli
