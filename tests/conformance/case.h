// A random combination of what a call may ask for: sizes, layouts, features. It is a value, drawn
// from a seed and printable in a line; setup.h makes the numbers and the memory.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "conformance/family.h"
#include "oracle/attention.h"
#include "tilewise/tilewise.h"

namespace tilewise::conformance {

enum class Storage { kDense, kPacked, kPaged, kIndexed };

struct PackedCase {
  std::int64_t before = 0, after = 0;  // tokens that nobody owns at both ends
  std::int64_t max_length = 0;         // 0, or an upper bound
};

// Where the sequences of one side (queries or keys) lie. Sequence b has memory for capacity[b]
// rows, of which rows start[b] .. end[b] - 1 count.
struct SideCase {
  Storage storage = Storage::kDense;
  std::vector<std::int64_t> capacity, start, end;
  bool has_used = false, has_start = false;
  PackedCase packed;
  std::int64_t page_size = 0;        // paged: capacity is page_size * columns
  std::int64_t outer = 0;            // pages, or rows of an indexed cache
  std::vector<std::int64_t> places;  // page table (batch, columns), or batch index (batch)
  tw_dtype index_dtype = TW_INT32;

  [[nodiscard]] std::int64_t length(std::int64_t b) const {
    return end[static_cast<std::size_t>(b)] - start[static_cast<std::size_t>(b)];
  }
  // The longest length that the call allows: the size of biases and masks.
  [[nodiscard]] std::int64_t extent() const;
  // Row i of sequence b, counted from start[b], as the first index and the row of a tensor (outer,
  // row, head, dim); packed: (0, token).
  [[nodiscard]] std::array<std::int64_t, 2> place(std::int64_t b, std::int64_t i) const;
  [[nodiscard]] bool is_cache() const {
    return storage == Storage::kPaged || storage == Storage::kIndexed;
  }
};

struct ScoreCase {
  bool has_scale = false;
  double scale = 0, softcap = 0;
  bool has_slopes = false, slopes_by_batch = false;
  bool steep_slopes = false;  // of both signs, far beyond what an exponent can hold
  bool has_bias = false, bias_hides = false;
  std::array<bool, 4> bias_broadcast = {};
  tw_dtype bias_dtype = TW_FLOAT64;
  bool has_sinks = false;
};

struct MaskCase {
  oracle::Band band;
  bool has_visible = false, has_blocks = false;
  std::array<bool, 4> visible_broadcast = {};
  std::array<bool, 2> blocks_broadcast = {};
  std::int64_t block_query = 0, block_key = 0;
  double share_of_blocks = 0.7;  // how many are visible
};

struct DropoutCase {
  double probability = 0;
  std::uint64_t seed = 0, offset = 0;
  std::array<std::int64_t, 4> base = {};
  bool by_state = false;  // seed and offset through a pointer
};

// Which gradients to ask for, in the order of tw_gradients.
struct GradientCase {
  bool has_lse = false;
  bool query = true, key = true, value = true, bias = true, slopes = true, sinks = true;
  bool deterministic = false;
  bool bias_as_bias = false;  // the bias's gradient has the bias's type, not the lse's
};

struct DtypeCase {
  tw_dtype input = TW_FLOAT64, output = TW_FLOAT64, lse = TW_FLOAT64;
  bool has_scaling = false;  // factors for query, key, value and the output's gradient
  std::array<bool, 2> scaling_broadcast = {};
};

struct RunCase {
  int threads = 1;
  bool by_host = false;       // the embedder's parallel_for
  bool is_scattered = true;   // odd strides, not dense ones
  bool keeps_pieces = false;  // 16-bit rows of 8 n elements begin at multiples of 16 bytes
};

struct SizeCase {
  std::int64_t batch = 1, heads = 1, key_heads = 1, dim = 1, value_dim = 1;
};

struct Case : SizeCase {
  std::uint64_t seed = 0;
  SideCase queries, keys;
  MaskCase mask;
  ScoreCase scores;
  DropoutCase dropout;
  GradientCase gradients;
  DtypeCase dtypes;
  Family family = Family::kGauss;
  RunCase run;

  [[nodiscard]] std::string describe() const;
};

// A case of small sizes drawn from the seed, with any features, in float64.
[[nodiscard]] Case draw_case(std::uint64_t seed);

// A case with sizes at which other libraries failed. Each number stands for a pair of lengths,
// queries by keys, and for head dims; any kMuseumPairs consecutive numbers have every pair of
// lengths. Features are drawn as in draw_case.
inline constexpr std::uint64_t kMuseumPairs = 529;
[[nodiscard]] Case draw_museum_case(std::uint64_t number);

// A case in a 16-bit type whose rows are whole pieces of 16 bytes, as tensor-core kernels require:
// head dims up to 128, any layout but pages, any band, no other feature but a positive scale. Two
// in five have 100 queries and keys or more; the others are mostly of the lengths of draw_case.
[[nodiscard]] Case draw_aligned_case(std::uint64_t seed);

// A case of one head and many keys, for the needle family. From number 16 on it has at least one
// query for each tile of 64 keys; before, 130 queries.
inline constexpr std::uint64_t kLongCases = 24;
[[nodiscard]] Case draw_long_case(std::uint64_t number);

// Sets the family of a case's numbers, and the masks that the family needs.
void set_family(Case& drawn, Family family);
// Sets the type of the case's elements. In some cases, and in most of 8-bit types, the output gets
// another type.
void set_dtype(Case& drawn, tw_dtype dtype);

// Plain dense attention, from which tests build their cases.
struct PlainSizes {
  std::int64_t batch = 1, queries = 1, keys = 1, heads = 1, key_heads = 1, dim = 1, value_dim = 1;
};
[[nodiscard]] Case plain_case(std::uint64_t seed, const PlainSizes& sizes, const DtypeCase& dtypes);
[[nodiscard]] SideCase dense_side(std::int64_t batch, std::int64_t rows);
// A side with sequences of these lengths. Unless it is packed, each sequence has memory for the
// longest, in whole pages if it is paged.
[[nodiscard]] SideCase side_of(Storage storage, const std::vector<std::int64_t>& lengths,
                               std::int64_t page_size = 16);

}  // namespace tilewise::conformance
