// Calls that are right, for tests to spoil: every struct of the C face, linked up, with memory
// behind every tensor. And the tables of refusals that come of it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "problem/call.h"

namespace tilewise {

class Memory {
 public:
  // Dense, its extent known, filled with zeros.
  tw_tensor tensor(std::int32_t dtype, std::initializer_list<std::int64_t> shape);

  // Integers (batch), or a table with so many columns.
  tw_tensor integers(std::initializer_list<std::int64_t> values, std::int64_t columns = 0);
  tw_tensor short_integers(std::initializer_list<std::int32_t> values);

 private:
  std::deque<std::vector<std::uint64_t>> buffers_;
};

// What a call of attention hands over, with everything that its options point to.
struct AttentionStructs {
  tw_mask mask{};
  tw_scores scores{};
  tw_dropout dropout{};
  tw_sequences queries{}, keys{};
  tw_cache cache{};
  tw_scaling scaling{};
  tw_options options{};
  tw_gradients gradients{};
  tw_request request{};
};

// Batch 2, 5 queries, 7 keys, 4 heads on 2 key heads, dims 8 and 16, float32.
struct Attention : AttentionStructs {
  explicit Attention(tw_operation asked = TW_FORWARD);
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  void pack_queries();   // offsets {0, 3, 5} of 6 tokens
  void pack_keys();      // offsets {0, 3, 10} of 12 tokens
  void page_keys();      // 5 pages of 4 rows, table {{3, 0}, {1, 4}}, used {5, 8}
  void index_keys();     // rows {2, 0} of 3
  void forget_memory();  // as in a question about shapes

  Status check();  // fills problem

  tw_operation operation;
  Buffers buffers;
  Memory memory;
  std::uint64_t state[2] = {3, 4};
  Problem problem;
};

// 2 sequences of 5 rows, 3 heads, dim 8; tables of 16 positions and 3 columns.
struct Rotary {
  Rotary();
  Rotary(const Rotary&) = delete;
  Rotary& operator=(const Rotary&) = delete;

  Status check();

  Buffers buffers;
  Memory memory;
  tw_rotation rotation{};
  tw_sequences sequences{};
  tw_rotary_request request{};
  RotaryProblem problem;
};

// 2 sequences take 3 new keys each behind {4, 0}; caches of 2 rows with room for 9; 4 query heads.
struct Append {
  Append();
  Append(const Append&) = delete;
  Append& operator=(const Append&) = delete;

  void page_cache();  // 6 pages of 4 rows, table {{5, 0}, {1, 2}}

  Status check();

  Buffers buffers;
  Memory memory;
  tw_sequences keys{}, queries{};
  tw_cache cache{};
  tw_rotation rotation{};
  tw_append_request request{};
  AppendProblem problem;
};

// 3 parts of 2 batches, 5 queries, 4 heads, value dim 8.
struct Merge {
  Merge();
  Merge(const Merge&) = delete;
  Merge& operator=(const Merge&) = delete;

  Status check();

  Buffers buffers;
  Memory memory;
  std::vector<tw_tensor> outputs, lses;
  tw_merge_request request{};
  MergeProblem problem;
};

// A call that is refused, and its sentence or a part of that.
struct Refusal {
  std::string sentence;
  tw_status code;
  std::function<Status()> call;
};

template <class Wrong>
Refusal refuse(tw_operation operation, std::string sentence, Wrong wrong,
               tw_status code = TW_INVALID) {
  return {std::move(sentence), code, [operation, wrong] {
            Attention call(operation);
            wrong(call);
            return call.check();
          }};
}

template <class Call, class Wrong>
Refusal refuse(std::string sentence, Wrong wrong, tw_status code = TW_INVALID) {
  return {std::move(sentence), code, [wrong] {
            Call call;
            wrong(call);
            return call.check();
          }};
}

using Refusals = std::vector<Refusal>;

Refusals struct_refusals();
Refusals tensor_refusals();
Refusals sequence_refusals();
Refusals cache_refusals();
Refusals shape_refusals();
Refusals mask_refusals();
Refusals score_refusals();
Refusals gradient_refusals();
Refusals memory_refusals();
Refusals rotary_refusals();
Refusals append_refusals();
Refusals merge_refusals();

// Makes each call and compares code and sentence.
void expect_refusals(const Refusals& refusals);

}  // namespace tilewise
