// Draws cases of given sizes: draw_museum_case takes lengths and head dims at which other libraries
// failed, draw_long_case lengths so large that a lost key changes results less than the tolerance,
// unless it is a needle.
#include <algorithm>
#include <array>

#include "conformance/case.h"
#include "oracle/random.h"

namespace tilewise::conformance {
namespace {

using oracle::Random;

constexpr std::array<std::int64_t, 23> kLengths = {0,   1,   2,   3,   31,  32,   33,  63,
                                                   64,  65,  127, 128, 129, 191,  192, 193,
                                                   250, 255, 256, 257, 640, 1023, 1025};
static_assert(kLengths.size() * kLengths.size() == kMuseumPairs);

struct Dims {
  std::int64_t dim, value_dim;
};
constexpr Dims kDims[] = {{1, 1},     {8, 8},     {16, 16},   {32, 32},   {40, 40},   {46, 46},
                          {59, 59},   {64, 64},   {72, 72},   {80, 80},   {96, 96},   {104, 104},
                          {111, 111}, {112, 112}, {128, 128}, {160, 160}, {192, 192}, {224, 224},
                          {256, 256}, {192, 128}, {576, 512}, {64, 512}};
constexpr auto kDimCount = static_cast<std::uint64_t>(std::size(kDims));

struct Heads {
  std::int64_t query, key;
};
constexpr Heads kHeads[] = {{1, 1}, {28, 4}, {12, 12}, {8, 1}, {7, 1}, {2, 1}};

// How many scores one head has, and how many elements its query, key, value and output have. If one
// length is zero, there are elements but no scores.
struct Sizes {
  std::int64_t scores, elements;
};

// The heads of a case: an entry of kHeads, or one or two heads if that would be too much work. More
// heads hardly help to find a mistake at some length.
Heads heads_for(std::uint64_t number, const Sizes& sizes) {
  constexpr std::int64_t kMostScores = 60000, kMostElements = 400000;
  const Heads wanted = kHeads[number % std::size(kHeads)];
  if (wanted.query * sizes.scores <= kMostScores && wanted.query * sizes.elements <= kMostElements)
    return wanted;
  return number % 2 == 0 ? Heads{1, 1} : Heads{2, 1};
}

}  // namespace

Case draw_museum_case(std::uint64_t number) {
  constexpr Storage kKeyStorages[] = {Storage::kDense, Storage::kPacked, Storage::kPaged,
                                      Storage::kIndexed};
  constexpr std::int64_t kPageSizes[] = {16, 1, 64, 20};
  // A step without a common factor with kMuseumPairs, so that neighbouring numbers differ much.
  const std::uint64_t pair = number * 100 % kMuseumPairs;
  const std::int64_t queries = kLengths[pair % kLengths.size()];
  const std::int64_t keys = kLengths[pair / kLengths.size()];
  Random random(number * 2 + 0x3A7);
  Case drawn = draw_case(number);
  // A pair has other dims in each round.
  const Dims dims = kDims[(number / kMuseumPairs * 5 + number) % kDimCount];
  const Heads heads = heads_for(static_cast<std::uint64_t>(random.integer(0, 1000)),
                                {queries * keys, (queries + keys) * (dims.dim + dims.value_dim)});
  drawn.heads = heads.query;
  drawn.key_heads = heads.key;
  drawn.dim = dims.dim;
  drawn.value_dim = dims.value_dim;
  // Alone, or in a batch with an empty sequence and one of a single row.
  std::vector<std::int64_t> query_lengths = {queries}, key_lengths = {keys};
  if (random.chance(0.4)) {
    query_lengths = {0, queries, 1};
    key_lengths = {keys, keys, 1};
  }
  drawn.batch = static_cast<std::int64_t>(query_lengths.size());
  drawn.queries = side_of(random.chance(0.5) ? Storage::kDense : Storage::kPacked, query_lengths);
  drawn.keys =
      side_of(kKeyStorages[random.integer(0, 3)], key_lengths, kPageSizes[random.integer(0, 3)]);
  drawn.gradients.key = drawn.gradients.value = true;
  return drawn;
}

Case draw_long_case(std::uint64_t number) {
  constexpr std::int64_t kLongLengths[] = {1000, 1024, 4095, 4097, 16384, 32767, 65535, 65536};
  constexpr std::int64_t kTile = 64;
  const std::int64_t keys = kLongLengths[number % std::size(kLongLengths)];
  const bool is_paged = number / std::size(kLongLengths) % 2 == 1;
  const bool has_all_tiles = number / std::size(kLongLengths) % 3 == 2;
  const std::int64_t queries = has_all_tiles ? keys / (kTile - 1) + 1 : 130;
  Case drawn =
      plain_case(number, {.queries = queries, .keys = keys, .dim = 64, .value_dim = 16}, {});
  if (is_paged) drawn.keys = side_of(Storage::kPaged, {keys}, 16 + 48 * (number % 2 == 0 ? 1 : 0));
  drawn.run.threads = 2;
  return drawn;
}

}  // namespace tilewise::conformance
