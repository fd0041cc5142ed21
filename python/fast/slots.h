// The places in a request that arrays go to, and what a request has besides arrays.
#pragma once
#include <tilewise/tilewise.h>

#include <cstddef>

namespace tilewise::fast {

// What a call asks for besides its arrays. Python checks each combination of options once, makes a
// Form of it (python/tilewise/_forms.py) and passes the Form as bytes. A member struct whose size
// is 0 asks for nothing.
struct Form {
  tw_mask mask;
  tw_scores scores;
  tw_dropout dropout;
  tw_sequences queries, keys;
  int32_t deterministic, threads;
  int32_t output_dtype;  // 0: what the library would choose
  int32_t reserved;
};

// All structs of a call in one, so that one offset names a place in any of them.
struct Bundle {
  tw_request request;
  tw_options options;
  Form form;
  tw_cache cache;
  tw_scaling scaling;
  tw_gradients gradients;
  tw_rotation rotation;
  tw_rotary_request rotary;
  tw_append_request append;
};

// What kind of array a slot takes.
enum class Kind { kFloats, kFactors, kBooleans, kIntegers, kPair };

struct Slot {
  const char* name;  // as Python's options have it
  std::size_t offset;
  Kind kind;
  int rank;      // fewer dimensions get leading ones up to it; 0: as it is
  bool is_rows;  // (batch, length, heads, dim), the middle two of which may be given swapped
  bool is_written;
};

#define TW_SLOT(name, place, ...) \
  { name, offsetof(Bundle, place), __VA_ARGS__ }

inline constexpr Slot kSlots[] = {
    TW_SLOT("query", request.query, Kind::kFloats, 0, true, false),
    TW_SLOT("key", request.key, Kind::kFloats, 0, true, false),
    TW_SLOT("value", request.value, Kind::kFloats, 0, true, false),
    TW_SLOT("output", request.output, Kind::kFloats, 0, true, false),
    TW_SLOT("lse", request.lse, Kind::kFactors, 0, false, false),
    TW_SLOT("out", request.output, Kind::kFloats, 0, true, true),
    TW_SLOT("lse_out", request.lse, Kind::kFactors, 0, false, true),
    TW_SLOT("output_gradient", gradients.output, Kind::kFloats, 0, true, false),
    TW_SLOT("lse_gradient", gradients.lse, Kind::kFactors, 0, false, false),
    TW_SLOT("query_gradient", gradients.query, Kind::kFloats, 0, true, true),
    TW_SLOT("key_gradient", gradients.key, Kind::kFloats, 0, true, true),
    TW_SLOT("value_gradient", gradients.value, Kind::kFloats, 0, true, true),
    TW_SLOT("bias_gradient", gradients.bias, Kind::kFloats, 4, false, true),
    TW_SLOT("slopes_gradient", gradients.slopes, Kind::kFactors, 0, false, true),
    TW_SLOT("sinks_gradient", gradients.sinks, Kind::kFactors, 0, false, true),
    TW_SLOT("bias", form.scores.bias, Kind::kFloats, 4, false, false),
    TW_SLOT("alibi_slopes", form.scores.slopes, Kind::kFactors, 0, false, false),
    TW_SLOT("sinks", form.scores.sinks, Kind::kFactors, 0, false, false),
    TW_SLOT("mask", form.mask.visible, Kind::kBooleans, 4, false, false),
    TW_SLOT("block_mask", form.mask.blocks, Kind::kBooleans, 4, false, false),
    TW_SLOT("dropout_state", form.dropout.state, Kind::kPair, 0, false, false),
    TW_SLOT("query_offsets", form.queries.offsets, Kind::kIntegers, 0, false, false),
    TW_SLOT("query_lengths", form.queries.used, Kind::kIntegers, 0, false, false),
    TW_SLOT("query_start", form.queries.start, Kind::kIntegers, 0, false, false),
    TW_SLOT("key_offsets", form.keys.offsets, Kind::kIntegers, 0, false, false),
    TW_SLOT("key_lengths", form.keys.used, Kind::kIntegers, 0, false, false),
    TW_SLOT("key_start", form.keys.start, Kind::kIntegers, 0, false, false),
    TW_SLOT("page_table", cache.page_table, Kind::kIntegers, 0, false, false),
    TW_SLOT("cache_batch_index", cache.batch_index, Kind::kIntegers, 0, false, false),
    TW_SLOT("query_factor", scaling.query, Kind::kFactors, 2, false, false),
    TW_SLOT("key_factor", scaling.key, Kind::kFactors, 2, false, false),
    TW_SLOT("value_factor", scaling.value, Kind::kFactors, 2, false, false),
    TW_SLOT("output_gradient_factor", scaling.output_gradient, Kind::kFactors, 2, false, false),
    TW_SLOT("cosine", rotation.cosine, Kind::kFloats, 0, false, false),
    TW_SLOT("sine", rotation.sine, Kind::kFloats, 0, false, false),
    TW_SLOT("rotary.x", rotary.input, Kind::kFloats, 0, false, false),
    TW_SLOT("rotary.out", rotary.output, Kind::kFloats, 0, false, true),
    TW_SLOT("rotary.positions", rotary.positions, Kind::kIntegers, 0, false, false),
    TW_SLOT("append.key", append.key, Kind::kFloats, 0, false, false),
    TW_SLOT("append.value", append.value, Kind::kFloats, 0, false, false),
    TW_SLOT("append.key_cache", append.key_cache, Kind::kFloats, 0, false, true),
    TW_SLOT("append.value_cache", append.value_cache, Kind::kFloats, 0, false, true),
    TW_SLOT("append.lengths", append.lengths, Kind::kIntegers, 0, false, false),
    TW_SLOT("append.query", append.query, Kind::kFloats, 0, false, false),
    TW_SLOT("append.out", append.rotated_query, Kind::kFloats, 0, false, true),
};

#undef TW_SLOT

inline constexpr int kSlotCount = static_cast<int>(sizeof kSlots / sizeof kSlots[0]);
// The slots that are filled by name, in the order of the list; after the last slot, two numbers
// that are no arrays.
enum : int {
  kQuery,
  kKey,
  kValue,
  kOutput,
  kLse,
  kOut,
  kLseOut,
  kOutputGradient,
  kLseGradient,
  kFirstGradient,  // of query, key, value, bias, slopes, sinks
  kLastSlots = kSlotCount - 13,
  kCosine,
  kSine,
  kX,
  kRotaryOut,
  kPositions,
  kNewKey,
  kNewValue,
  kKeyCache,
  kValueCache,
  kLengths,
  kNewQuery,
  kRotated,
  kSeed = kSlotCount,
  kDropoutOffset
};
inline constexpr int kGradientCount = 6;

}  // namespace tilewise::fast
