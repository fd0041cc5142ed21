// The contract's dropout layout, element by element.
#include "oracle/dropout.h"

#include <cmath>

namespace tilewise::oracle {
namespace {

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32U);
}

}  // namespace

Words philox(Words counter, std::array<std::uint32_t, 2> key, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t first = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t second = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {high(second) ^ counter[1] ^ key[0], low(second), high(first) ^ counter[3] ^ key[1],
               low(first)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

std::uint32_t threshold(const Dropout& dropout) {
  return static_cast<std::uint32_t>(std::lround(65536.0 * dropout.probability));
}

double keep_scale(const Dropout& dropout) {
  const std::uint32_t dropped = threshold(dropout);
  return dropped >= 65536U ? 0.0 : 65536.0 / (65536.0 - static_cast<double>(dropped));
}

std::uint32_t decision(const Dropout& dropout, std::int64_t head, std::int64_t query,
                       std::int64_t key) {
  const auto b = static_cast<std::uint64_t>(dropout.batch + dropout.base[0]);
  const auto h = static_cast<std::uint64_t>(head + dropout.base[1]);
  const auto i = static_cast<std::uint64_t>(query + dropout.base[2]);
  const auto j = static_cast<std::uint64_t>(key + dropout.base[3]);
  const Words drawn = philox({low(dropout.offset), high(dropout.offset), 0, 0},
                             {low(dropout.seed), high(dropout.seed)}, 7);
  const Words counter = {low(j / 32 * 8 + j % 8), low(i / 16 * 8 + i % 8), low(h), low(b)};
  const Words words = philox(counter, {drawn[0], drawn[1]}, 7);
  const std::uint64_t number = 4 * (i % 16 / 8) + j % 32 / 8;
  const std::uint32_t word = words[number / 2];
  return number % 2 == 0 ? word & 0xFFFFU : word >> 16U;
}

bool kept(const Dropout& dropout, std::int64_t head, std::int64_t query, std::int64_t key) {
  return decision(dropout, head, query, key) >= threshold(dropout);
}

double keep_factor(const std::optional<Dropout>& dropout, std::int64_t head, std::int64_t query,
                   std::int64_t key) {
  if (!dropout) return 1;
  return kept(*dropout, head, query, key) ? keep_scale(*dropout) : 0;
}

}  // namespace tilewise::oracle
