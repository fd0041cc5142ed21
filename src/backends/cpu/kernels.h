// The kernels of an instruction set: steps on tiles in scratch memory. The loops over tiles, and
// the code for masks, pages and heads, call these kernels and are the same for every instruction
// set.
//
// Tiles of scores are transposed: rows are keys, lanes are queries. So keys and values are read
// along their rows, and the softmax of a query stays in its lane.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace tilewise::cpu {

using core::DType;
using core::int32;
using core::int64;
using core::uint32;
using core::uint64;

// Rows in memory: row i begins at at[i] and has `dim` elements.
struct Rows {
  std::byte* const* at;
  int64 count, dim;
  DType dtype;
};

// Rows of T, `pitch` elements apart, as a rule in scratch memory.
template <class T>
struct Matrix {
  T* data;
  int64 pitch;
};

// Columns in a panel of values. A panel holds its columns key after key, so that a register block
// reads contiguous memory, whatever strides the caller's tensor has.
inline constexpr int64 kPanel = 8;

// Bytes of a cache line.
inline constexpr int64 kLine = 64;

// In a tile, a bundle's keys begin at a multiple of kRowStep, which the number of rows in each of
// `score`'s register blocks divides. Kernels may read up to kKeysBeyond keys after the last one;
// nobody reads the scores of these.
inline constexpr int64 kRowStep = 8, kKeysBeyond = 16;

// A tile of scores or weights: `keys` rows of Kernels::pitch lanes, of which the first `vectors`
// vectors are in use. Vector j has keys_of(j) keys, a multiple of kRowStep or all, and no fewer
// than vector j - 1; its other keys are neither written nor read.
template <class T>
struct ScoreTile {
  int64 keys_of(int64 vector) const { return ends ? ends[vector] : keys; }

  T* data;
  int64 keys, vectors;
  const int64* ends = nullptr;  // keys of each vector; null: all have `keys`
};

// The running rows of online softmax, one number a lane.
template <class T>
struct RunningRows {
  T *max, *sum;
  T* factor;  // set by raise: multiplies the output accumulated so far
};

// Rows to prefetch because they are read soon. They have the caller's strides, often too large for
// the hardware prefetcher.
struct Prefetch {
  // Part n of the rows, cut into `parts` parts.
  Prefetch part(int64 n, int64 parts) const {
    const int64 begin = count * n / parts;
    return {at + begin, count * (n + 1) / parts - begin, bytes};
  }

  std::byte* const* at = nullptr;
  int64 count = 0, bytes = 0;
};

// ForwardSteps::score: raw scores = key . query, and the largest of each lane.
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

// The keys of the tile that a lane sees: begin <= key < end, and bias not -inf.
template <class T>
struct Limits {
  const T *begin, *end;
  const T* bias;  // [key][lane], or null
};

// ForwardSteps::map: q.k -> scale -> softcap -> ALiBi -> bias -> log2; hidden scores become -inf.
// It maps the lanes whose largest score is not between -limit and limit and leaves the others raw,
// so that no lane's bits depend on its neighbours. A limit of 0 maps all lanes.
template <class T>
struct MapArgs {
  ScoreTile<T> tile;
  Limits<T> limits;
  T scale, softcap;
  const T* slope;         // by lane, or null
  const T* position;      // by lane: the key on the diagonal, counted from the tile's first
  T* softcap_derivative;  // out, [key][lane]: the softcap's derivative; or null
  T* largest;
  T limit;
  T* unit;  // out, by lane: 1 where a lane was mapped; see RaiseArgs
};

template <class T>
struct RaiseArgs {
  ScoreTile<T> tile;
  const T* largest;
  const T* unit;  // by lane: score * unit is in units of log2
  RunningRows<T> rows;
  const T* keep = nullptr;  // dropout's factors, or null
};

// Inputs of core::Dropout for a tile; `column` is that of the tile's first key.
struct DropArgs {
  uint32 key[2];
  uint32 batch;
  int32 threshold;
  int64 column;
};

// Each lane's row and head for dropout. One Philox draw serves rows r and r + 8 of sixteen: `row`
// counts such pairs of rows, and `upper` is 1 for row r + 8.
struct DropLanes {
  const uint32 *row, *upper, *head;
};

template <class T>
struct AccumulateArgs {
  const T* value;  // panels of kPanel columns, each [panel_keys][kPanel]
  int64 panel_keys, dim;
  int64 first;        // the panels' key that is the tile's first
  ScoreTile<T> tile;  // weights, which may be overwritten
  const T* factor;    // by lane
  T* output;          // [dim][lane]
};

// Rows that decoding reads of one head before it goes on to the next, and rows of values that it
// adds at once.
inline constexpr int64 kRowsAtOnce = 16;

// Rows of keys or values, read in place, for the few queries of one key head.
template <class T>
struct DecodeArgs {
  Rows rows;
  T factor;
  bool copied;             // rows must be copied to `copies` first
  int64 count, pitch;      // queries; columns of a row in scratch memory
  T* columns;              // of keys: the queries, packed; of values: room for sums
  T* scores;               // keys `step` apart, a lane a query; of values: the weights
  int64 step;              // the pitch; or 1 for one query, with room for twice as many scores
  T* copies;               // room for kRowsAtOnce rows
  Prefetch prefetch = {};  // its row r is fetched along with row r
};

// DecodeSteps::raise_one: makes weights of a tile of raw scores of one query, contiguous in memory,
// and writes zeros behind the weights up to a multiple of four vectors.
template <class T>
struct DecodeOneArgs {
  T* scores;
  int64 keys;
  T unit, limit, scale;  // score * unit is in log2 if the largest is within limit
  RunningRows<T> row;
};

// Key heads decoded together, because their rows are neighbours in memory. All have the same sizes
// and the same `copied`.
template <class T>
struct DecodeHeads {
  const DecodeArgs<T>* at;
  int64 count;
};

// DecodeSteps::store_gradient: row r becomes factor * the sum over `count` queries q of weights[r *
// pitch + q] * right[q].
template <class T>
struct DecodeGradientArgs {
  Rows rows;  // of float32, bfloat16 or float16
  T factor;
  const T* weights;
  int64 pitch, count;
  Matrix<const T> right;  // columns padded to whole vectors
};

template <class T>
struct WeighArgs {
  ScoreTile<T> tile;           // in: scores; out: weights
  const T *max, *inverse_sum;  // weight = 2^(score * unit - max) * inverse_sum, by lane
  const T* unit;               // by lane
};

template <class T>
struct DifferentiateArgs {
  ScoreTile<T> weights;         // in: weights; out: weights after dropout
  T* gradient;                  // in: dP; out: the scores' gradient
  T* raw;                       // out: gradient of scale * q.k; may be `gradient`
  const T* keep;                // dropout's factors, or null
  const T* softcap_derivative;  // the softcap's derivative, or null
  const T* delta;               // by lane
};

// BackwardSteps::pack: makes bfloat16 pairs of a tile of weights and of a tile of scores'
// gradients, for the left sides of products. Pairs of lanes replace the numbers of both tiles, in
// the first half of each row; by_query gets the gradients in pairs of keys.
template <class T>
struct PackArgs {
  int64 keys;
  T *weights, *gradient;
  T* by_query;  // out: [pair of keys][lane] of the gradients
};

// The left side of a product: element (r, k) of a segment is data[r * row + k * step], k < depth.
// The product sums over `segments` segments, which are `next` apart. With bfloat16 pairs the caller
// must set `step` or `row` to 1. Kernels may then read rows in whole vectors, if `step` is 1, and
// kKeysBeyond more rows or elements.
template <class T>
struct LeftSide {
  const T* data;
  int64 row, step, depth;
  int64 segments, next;
};

// BackwardSteps::add_product: to[r][c] += sum over k of left(r, k) * right[k][c], in whole vectors
// of columns.
template <class T>
struct ProductArgs {
  LeftSide<T> left;
  Matrix<const T> right;
  Matrix<T> to;
  int64 rows, columns;
};

// BackwardSteps::add_slopes: adds a tile's part of the slopes' gradient to `sum`, by lane: the sum
// of gradient * -|position - key|.
template <class T>
struct SlopeArgs {
  ScoreTile<const T> gradient;
  const T* position;
  T* sum;
};

// Kernels that move rows between the caller's memory and scratch memory. `load` makes what `score`
// reads, `widen` numbers, `load_right` the right side of add_product; the three are the same unless
// products are of bfloat16 pairs.
template <class T>
struct RowSteps {
  void (*load)(const Rows&, T factor, Matrix<T> to, int64 padded);
  void (*widen)(const Rows&, T factor, Matrix<T> to, int64 padded);
  void (*load_right)(const Rows&, T factor, Matrix<T> to, int64 padded);
  void (*load_panels)(const Rows&, T factor, T* to, int64 panel_keys, T* row);
  void (*store)(const Rows&, const T* factor, Matrix<const T> from);
  // to_lanes transposes: to[c][lane] = from[lane][c]; from_lanes transposes back.
  void (*to_lanes)(Matrix<const T> from, int64 columns, int64 vectors, T* to);
  void (*from_lanes)(const T* from, int64 columns, int64 vectors, Matrix<T> to);
  // to_lanes of numbers, even where to_lanes itself moves pairs.
  void (*numbers_to_lanes)(Matrix<const T> from, int64 columns, int64 vectors, T* to);
  // Sets to[r][c] to -inf where byte (r, c) is 0.
  void (*hide)(const Rows& bytes, Matrix<T> to);
};

// `score` and `mask` return true if some lane's largest score is not between -limit and limit; the
// caller must then run `map`. `mask` passes over lanes that see no key, and uses the bias only to
// hide keys, where it is -inf.
template <class T>
struct ForwardSteps {
  bool (*score)(const ScoreArgs<T>&);
  bool (*mask)(const ScoreArgs<T>&, const Limits<T>&);
  void (*map)(const MapArgs<T>&);
  void (*raise)(const RaiseArgs<T>&);  // leaves weights in accumulate's layout
  void (*drop)(const DropArgs&, const DropLanes&, T keep_scale, ScoreTile<T> to);
  void (*accumulate)(const AccumulateArgs<T>&);
};

// The steps of decoding, for few queries, packed by `pack`. `score` makes raw scores only; `survey`
// finds the largest and returns what ForwardSteps::score returns; `raise_one` needs no survey;
// `accumulate` adds to rows, not lanes. All are null where an instruction set does not decode.
template <class T>
struct DecodeSteps {
  void (*pack)(const DecodeArgs<T>&, const T* rows) = nullptr;
  void (*score)(const DecodeHeads<T>&) = nullptr;
  bool (*survey)(const ScoreArgs<T>&) = nullptr;
  void (*raise)(const RaiseArgs<T>&) = nullptr;
  void (*raise_one)(const DecodeOneArgs<T>&) = nullptr;
  void (*accumulate)(const DecodeArgs<T>&, const T* factor, T* to) = nullptr;
  void (*store_gradient)(const DecodeGradientArgs<T>&) = nullptr;  // null in double
};

template <class T>
struct BackwardSteps {
  void (*weigh)(const WeighArgs<T>&);
  void (*differentiate)(const DifferentiateArgs<T>&);
  void (*pack)(const PackArgs<T>&);  // null unless products are of pairs
  void (*add_product)(const ProductArgs<T>&);
  void (*add_slopes)(const SlopeArgs<T>&);
  void (*dot_rows)(Matrix<const T> a, Matrix<const T> b, int64 rows, T* to);
};

template <class T>
struct Kernels {
  int64 lanes = 0, pitch = 0;  // of a vector, and of a row of a tile
  int64 keys = 0;              // of a tile in the forward pass
  // Whether vectors of a tile may have fewer keys than the tile (ScoreTile::ends). If so, `score`
  // reads keys only up to the next multiple of kRowStep.
  bool ends = true;

  // Whether products are of bfloat16 pairs; and the numbers in an element of a product, 2 or 1.
  bool pairs() const { return rows.load != rows.widen; }
  int64 packed() const { return pairs() ? 2 : 1; }

  RowSteps<T> rows;
  ForwardSteps<T> forward;
  BackwardSteps<T> backward;
  DecodeSteps<T> decode = {};
};

// Contiguous numbers, of any type if they are read, of any but float8 if they are written.
struct Numbers {
  std::byte* at;
  DType dtype;
};

// Rotary embedding of one token: rotates the pairs of `heads` rows, which are `from_next` and
// `to_next` bytes apart, by one row of the tables.
struct RotateArgs {
  Numbers from, to;
  int64 from_next, to_next, heads;
  Numbers cosine, sine;
  int64 pairs;
  bool interleaved, inverse;
};

// Kernels of rotary, append and merge. They compute in double and round once. The caller's buffers
// of double must have room for whole vectors.
struct CacheKernels {
  void (*rotate)(const RotateArgs&);
  void (*convert)(Numbers from, Numbers to, int64 count);
  void (*add_weighted)(Numbers from, double weight, int64 count, double* sum);
  void (*write)(const double* from, Numbers to, int64 count);
};

// An instruction set's kernels that multiply numbers, not pairs.
struct NumberKernels {
  Kernels<float> in_float;
  Kernels<double> in_double;
  CacheKernels cache;
};

// An instruction set. If it only adds bfloat16 products to another set, its of_numbers is that of
// the other set.
struct Isa {
  const char* name;
  bool (*runs_here)();
  const NumberKernels& of_numbers;
  // Kernels for bfloat16 inputs: they multiply pairs, sum in float and have scratch layouts of
  // their own. lanes == 0 means that there are none: bfloat16 inputs are then widened to float.
  Kernels<float> of_bfloat16 = {};
  // The instruction set that decodes bfloat16 where of_bfloat16 has no DecodeSteps; or null.
  const Isa* decoder = nullptr;
};

}  // namespace tilewise::cpu
