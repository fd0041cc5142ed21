// What an instruction set does: steps on tiles in scratch memory. The walk over tiles, and all that
// knows of masks, pages and heads, is above and the same for every instruction set.
//
// Scores stand on their side: a tile's rows are keys, its lanes are queries. So keys and values are
// read along their rows, and the softmax of a query runs down a lane and never across.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace tilewise::cpu {

using core::DType;
using core::int32;
using core::int64;
using core::uint32;
using core::uint64;

// Rows of memory, wherever each begins.
struct Rows {
  std::byte* const* at;
  int64 count, dim;
  DType dtype;
};

// Rows as numbers in scratch memory, `pitch` apart.
template <class T>
struct Matrix {
  T* data;
  int64 pitch;
};

// Columns of values are kept in panels of this many, key after key: what a block takes from a panel
// lies together, whatever strides the caller's tensor has.
inline constexpr int64 kPanel = 8;

// Bytes that memory gives at once.
inline constexpr int64 kLine = 64;

// Keys are taken in blocks of registers. A stretch of keys may begin at every kRowStep-th one, and
// as many as kKeysBeyond after its last may be read (they give scores that nobody reads).
inline constexpr int64 kRowStep = 8, kKeysBeyond = 16;

// A tile of scores, or of weights made of them: `keys` rows of `pitch` lanes. The first `vectors`
// vectors of a row are in use. Vector j has keys_of(j) keys: a multiple of kRowStep, or all, and no
// fewer than the vector before it. What lies beyond is neither written nor read.
template <class T>
struct ScoreTile {
  int64 keys_of(int64 vector) const { return ends ? ends[vector] : keys; }

  T* data;
  int64 keys, vectors;
  const int64* ends = nullptr;  // by vector; null: all end with the tile
};

// The lanes' own numbers, one a lane.
template <class T>
struct RunningRows {
  T *max, *sum;
  T* factor;  // out of raise: what was accumulated before shrinks by this
};

// Rows that will be read soon. They lie where the caller's strides put them, too far apart for a
// hardware prefetcher to find.
struct Prefetch {
  // The n-th of so many parts.
  Prefetch part(int64 n, int64 parts) const {
    const int64 begin = count * n / parts;
    return {at + begin, count * (n + 1) / parts - begin, bytes};
  }

  std::byte* const* at = nullptr;
  int64 count = 0, bytes = 0;
};

// raw scores = key . query.
template <class T>
struct ScoreArgs {
  Matrix<const T> key;  // kKeysBeyond more rows may be read
  const T* query;       // [dim][lane]
  int64 dim;
  ScoreTile<T> tile;
  T* largest;  // of each lane, in this tile
  T limit;
  Prefetch prefetch = {}, prefetch_bias = {};
};

// Which keys of the tile a lane sees: begin <= key < end, where the bias is not -inf.
template <class T>
struct Limits {
  const T *begin, *end;
  const T* bias;  // [key][lane], or null
};

// q.k -> scale -> softcap -> ALiBi -> bias -> log2, hidden ones -inf. Lanes whose largest score is
// in order by `limit` stay as they are, so that what one lane holds changes no bit of another; a
// limit of 0 leaves none.
template <class T>
struct MapArgs {
  ScoreTile<T> tile;
  Limits<T> limits;
  T scale, softcap;
  const T* slope;     // by lane, or null
  const T* position;  // by lane: where the diagonal crosses it, counted from the tile's first key
  T* softcap_derivative;  // [key][lane], or null: takes the softcap's derivative
  T* largest;
  T limit;
  T* unit;  // by lane, see RaiseArgs: 1 where a lane was mapped
};

template <class T>
struct RaiseArgs {
  ScoreTile<T> tile;
  const T* largest;
  const T* unit;  // by lane: what takes its scores to log2
  RunningRows<T> rows;
  const T* keep = nullptr;  // dropout's factors, or null
};

// Decisions of core::Dropout for a tile whose first key has this column.
struct DropArgs {
  uint32 key[2];
  uint32 batch;
  int32 threshold;
  int64 column;
};

// Each lane's place in the matrix of scores. A row counts as Philox's counter has it; `upper` is 1
// for the upper eight of sixteen rows.
struct DropLanes {
  const uint32 *row, *upper, *head;
};

template <class T>
struct AccumulateArgs {
  const T* value;  // panels of kPanel columns, each [panel_keys][kPanel]
  int64 panel_keys, dim;
  int64 first;        // the key of the panels that the tile begins with
  ScoreTile<T> tile;  // used up
  const T* factor;    // by lane
  T* output;          // [dim][lane]
};

// Decoding reads so many rows of a head before those of the next one, and adds so many values at
// once.
inline constexpr int64 kRowsAtOnce = 16;

// Rows of keys or of values where they lie, for a few queries of one key head.
template <class T>
struct DecodeArgs {
  Rows rows;
  T factor;
  bool copied;         // rows cannot be used where they lie
  int64 count, pitch;  // of queries; of columns in scratch memory
  T* columns;          // [column][query] in the kernels' own order: the queries; room for sums
  T* scores;           // a lane a query, `step` from key to key; weights, of values
  int64 step;          // the pitch of a tile; or 1 of one query, behind whose keys is as much room
  T* copies;           // room for kRowsAtOnce rows
  Prefetch prefetch = {};  // row by row
};

// A tile of raw scores of one query, side by side, that become weights; and zeros behind them, up
// to four whole vectors.
template <class T>
struct DecodeOneArgs {
  T* scores;
  int64 keys;
  T unit, limit, scale;  // to log2, up to which score that is safe, and where it is not
  RunningRows<T> row;
};

// Key heads whose rows lie side by side in memory. Their sizes are the same, and whether rows are
// copied.
template <class T>
struct DecodeHeads {
  const DecodeArgs<T>* at;
  int64 count;
};

// Row r becomes factor * the sum over `count` queries q of weights[r * pitch + q] * right[q].
template <class T>
struct DecodeGradientArgs {
  Rows rows;  // of float32, bfloat16 or float16
  T factor;
  const T* weights;
  int64 pitch, count;
  Matrix<const T> right;  // in whole vectors
};

template <class T>
struct WeighArgs {
  ScoreTile<T> tile;           // in: scores; out: weights
  const T *max, *inverse_sum;  // weight = 2^(score * unit - max) * inverse_sum, by lane
  const T* unit;               // by lane
};

template <class T>
struct DifferentiateArgs {
  ScoreTile<T> weights;         // out: after dropout
  T* gradient;                  // in: dP; out: the scores' gradient
  T* raw;                       // out: of scale * q.k, before the softcap; may be `gradient`
  const T* keep;                // dropout's factors, or null
  const T* softcap_derivative;  // the softcap's derivative, or null
  const T* delta;               // by lane
};

// A tile of weights and one of the scores' gradients, all lanes of it, as left sides of products:
// pairs of lanes where the numbers lay, in the beginning of each row, and pairs of keys.
template <class T>
struct PackArgs {
  int64 keys;
  T *weights, *gradient;
  T* by_query;  // out: [pair of keys][lane] of the gradients
};

// The left side of a product: element (r, k) is data[r * row + k * step]. k runs through `depth`
// elements, numbers or pairs, of each of `segments`, which lie `next` apart. Of pairs a row either
// has its elements side by side (`step` 1, and a whole number of vectors of them), or they stand
// one below the other, side by side with those of other rows (`row` 1); and kKeysBeyond more rows,
// or elements, may be read.
template <class T>
struct LeftSide {
  const T* data;
  int64 row, step, depth;
  int64 segments, next;
};

// to[r][c] += sum over k of left(r, k) * right[k][c]. Columns are whole vectors.
template <class T>
struct ProductArgs {
  LeftSide<T> left;
  Matrix<const T> right;
  Matrix<T> to;
  int64 rows, columns;
};

// What ALiBi's slope gets from a tile: by lane, the sum of gradient * -|position - key|.
template <class T>
struct SlopeArgs {
  ScoreTile<const T> gradient;
  const T* position;
  T* sum;
};

// Rows between the caller's memory and scratch memory. `load`, as scores take them; `widen`, as
// numbers; `load_right`, as the right side of add_product: all the same where products are of
// numbers.
template <class T>
struct RowSteps {
  void (*load)(const Rows&, T factor, Matrix<T> to, int64 padded);
  void (*widen)(const Rows&, T factor, Matrix<T> to, int64 padded);
  void (*load_right)(const Rows&, T factor, Matrix<T> to, int64 padded);
  void (*load_panels)(const Rows&, T factor, T* to, int64 panel_keys, T* row);
  void (*store)(const Rows&, const T* factor, Matrix<const T> from);
  // Between rows and lanes: to[c][lane] = from[lane][c], and back.
  void (*to_lanes)(Matrix<const T> from, int64 columns, int64 vectors, T* to);
  void (*from_lanes)(const T* from, int64 columns, int64 vectors, Matrix<T> to);
  // to_lanes of numbers, also where products are of pairs.
  void (*numbers_to_lanes)(Matrix<const T> from, int64 columns, int64 vectors, T* to);
  // to[r][c] becomes -inf where the byte is 0.
  void (*hide)(const Rows& bytes, Matrix<T> to);
};

// `score` and `mask` return true where a largest score is no ordinary number, and `map` has to look
// at each. To `mask`, a bias says only what is hidden.
template <class T>
struct ForwardSteps {
  bool (*score)(const ScoreArgs<T>&);
  bool (*mask)(const ScoreArgs<T>&, const Limits<T>&);
  void (*map)(const MapArgs<T>&);
  void (*raise)(const RaiseArgs<T>&);  // as accumulate takes weights
  void (*drop)(const DropArgs&, const DropLanes&, T keep_scale, ScoreTile<T> to);
  void (*accumulate)(const AccumulateArgs<T>&);
};

// The same for a few queries, once their rows are packed. `survey` says of raw scores what
// ForwardSteps::score does; `raise_one` looks at them itself; `accumulate` adds to rows. Null where
// tiles serve them, too.
template <class T>
struct DecodeSteps {
  void (*pack)(const DecodeArgs<T>&, const T* rows) = nullptr;
  void (*score)(const DecodeHeads<T>&) = nullptr;
  bool (*survey)(const ScoreArgs<T>&) = nullptr;
  void (*raise)(const RaiseArgs<T>&) = nullptr;
  void (*raise_one)(const DecodeOneArgs<T>&) = nullptr;
  void (*accumulate)(const DecodeArgs<T>&, const T* factor, T* to) = nullptr;
  void (*store_gradient)(const DecodeGradientArgs<T>&) = nullptr;  // of float alone
};

template <class T>
struct BackwardSteps {
  void (*weigh)(const WeighArgs<T>&);
  void (*differentiate)(const DifferentiateArgs<T>&);
  void (*pack)(const PackArgs<T>&);  // null where products are of numbers
  void (*add_product)(const ProductArgs<T>&);
  void (*add_slopes)(const SlopeArgs<T>&);
  void (*dot_rows)(Matrix<const T> a, Matrix<const T> b, int64 rows, T* to);
};

template <class T>
struct Kernels {
  int64 lanes = 0, pitch = 0;  // of a vector, and of the vectors that a tile has side by side
  int64 keys = 0;              // of a tile in the forward pass
  // Whether vectors of a tile may end before it, and `score` reads no further than the kRowStep
  // that its last key belongs to.
  bool ends = true;

  // Whether products are of bfloat16 pairs and not of numbers; and numbers in the place of one.
  bool pairs() const { return rows.load != rows.widen; }
  int64 packed() const { return pairs() ? 2 : 1; }

  RowSteps<T> rows;
  ForwardSteps<T> forward;
  BackwardSteps<T> backward;
  DecodeSteps<T> decode = {};
};

// Numbers that lie one behind the other, of any type but float8 where they are written.
struct Numbers {
  std::byte* at;
  DType dtype;
};

// Pairs of `heads` rows, rotated by one row of the tables; heads lie `..._next` bytes apart.
struct RotateArgs {
  Numbers from, to;
  int64 from_next, to_next, heads;
  Numbers cosine, sine;
  int64 pairs;
  bool interleaved, inverse;
};

// The operations beside attention, worked on in double and rounded once. What is in double is as
// long as whole vectors.
struct CacheKernels {
  void (*rotate)(const RotateArgs&);
  void (*convert)(Numbers from, Numbers to, int64 count);
  void (*add_weighted)(Numbers from, double weight, int64 count, double* sum);
  void (*write)(const double* from, Numbers to, int64 count);
};

// What an instruction set does with numbers.
struct NumberKernels {
  Kernels<float> in_float;
  Kernels<double> in_double;
  CacheKernels cache;
};

// An instruction set. One that adds products of bfloat16 to another has its kernels of numbers.
struct Isa {
  const char* name;
  bool (*runs_here)();
  const NumberKernels& of_numbers;
  // In float, of bfloat16 inputs, with layouts of its own for what lies in scratch memory. None (no
  // lanes) where they are widened.
  Kernels<float> of_bfloat16 = {};
  // The one whose kernels take few queries of bfloat16, where these have none for them.
  const Isa* decoder = nullptr;
};

}  // namespace tilewise::cpu
