// A checked call. Backends run it without checking again: shapes agree, every index that the call
// needs from a table on the host stays inside its buffer, and outputs overlap no other tensor.
// Kernels check the indices in tables on a device.
#pragma once

#include "core/mask.h"
#include "core/philox.h"
#include "problem/side.h"
#include "problem/status.h"

namespace tilewise {

struct Shape {
  int64 batch = 0;
  int64 queries = 0, keys = 0;  // no sequence has more
  int64 heads = 0, key_heads = 0;
  int64 dim = 0, value_dim = 0;

  int64 group() const { return heads / key_heads; }
};

struct Mask {
  int64 left = core::kUnlimited, right = core::kUnlimited;
  tw_diagonal diagonal = TW_BOTTOM_RIGHT;
  int64 shift = 0, chunk = 0;
  View visible;  // by query head
  View blocks;   // rows and columns are blocks
  int64 block_query = 0, block_key = 0;

  // The band of a sequence of these lengths.
  core::Band band(int64 queries, int64 keys) const {
    const int64 diagonals[] = {keys - queries, 0, shift};
    return {queries, keys, left, right, diagonals[diagonal], chunk};
  }
};

struct Scores {
  double scale = 1, softcap = 0;
  View slopes, bias, sinks;
};

struct Dropout {
  core::Dropout decide;  // with a state its seed is not used: the run takes the state's
  int64 base[4] = {};
  View state;  // {seed, offset}
};

// Factors of FP8 tensors, one for each (batch, key head); a view may be absent. The gradient of
// such a tensor is that with respect to factor * element.
struct Scaling {
  View query, key, value, output_gradient;
};

struct Gradients {
  View output, lse;                             // in
  View query, key, value, bias, slopes, sinks;  // out
};

// Attention's operands, under the names that they have everywhere.
struct Operands {
  View query, key, value, output, lse;
};

struct Problem : Operands {
  tw_operation operation = TW_FORWARD;
  Shape shape;
  Side queries, keys;
  Mask mask;
  Scores scores;
  Dropout dropout;
  Scaling scaling;
  Gradients gradients;
  bool deterministic = false;
};

struct Rotation {
  View cosine, sine;  // rows are positions
  bool interleaved = false;

  explicit operator bool() const { return static_cast<bool>(cosine); }
  int64 pairs() const { return cosine.size.column; }
};

struct RotaryProblem {
  int64 batch = 0, heads = 0, dim = 0;
  Side side;
  View input, output;
  Rotation rotation;
  View positions;  // by batch; absent: 0
  bool fixed = false, inverse = false;
};

// Where keys and values are appended.
struct Cache {
  Side cache;  // `place_of(cache, b).first` is the first row of the cache
  View key_cache, value_cache;
  View lengths;  // by batch, before the append
};

struct AppendProblem : Cache {
  int64 batch = 0, key_heads = 0, dim = 0, value_dim = 0;
  Side fresh;  // rows of the new keys
  View key, value;
  Rotation rotation;      // absent: rows are copied
  RotaryProblem queries;  // absent (no output): no queries to rotate
};

struct MergeProblem {
  int64 batch = 0, heads = 0, value_dim = 0, tokens = 0;  // tokens: rows of a (batch, head)
  int64 parts = 0;
  const tw_tensor* outputs = nullptr;  // checked; read through part_output, part_lse
  const tw_tensor* lses = nullptr;
  View output, lse, sinks;

  View part_output(int64 part) const;
  View part_lse(int64 part) const;
};

class Call;

// Each checks its request and fills `problem`. `call` must be new; it remembers the request's
// memory.
Status check(tw_operation operation, const tw_request* request, Call& call, Problem& problem);
Status check(const tw_rotary_request* request, Call& call, RotaryProblem& problem);
Status check(const tw_append_request* request, Call& call, AppendProblem& problem);
Status check(const tw_merge_request* request, Call& call, MergeProblem& problem);

}  // namespace tilewise
