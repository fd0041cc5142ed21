// Which probabilities dropout drops, from the contract's words: Philox4x32-7, one 16-bit decision
// an element.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace tilewise::oracle {

using Words = std::array<std::uint32_t, 4>;

// Philox4x32 with any number of rounds.
[[nodiscard]] Words philox(Words counter, std::array<std::uint32_t, 2> key, int rounds);

struct Dropout {
  double probability = 0;
  std::uint64_t seed = 0, offset = 0;
  std::int64_t batch = 0;                 // which sequence of the batch this is
  std::array<std::int64_t, 4> base = {};  // added to batch, head, query and key index
};

// round(65536 * probability), ties away from zero: decisions below it drop.
[[nodiscard]] std::uint32_t threshold(const Dropout& dropout);

// What a kept probability is multiplied with; 0 when everything is dropped.
[[nodiscard]] double keep_scale(const Dropout& dropout);

[[nodiscard]] std::uint32_t decision(const Dropout& dropout, std::int64_t head, std::int64_t query,
                                     std::int64_t key);

[[nodiscard]] bool kept(const Dropout& dropout, std::int64_t head, std::int64_t query,
                        std::int64_t key);

// The factor of one probability on its way to the output: 0 when dropped, 1 without dropout.
[[nodiscard]] double keep_factor(const std::optional<Dropout>& dropout, std::int64_t head,
                                 std::int64_t query, std::int64_t key);

}  // namespace tilewise::oracle
