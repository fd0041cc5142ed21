/* Tilewise: exact attention, tile by tile. This is the C face and the one ABI of the library.
 *
 *     output = softmax(scale * query key^T, softcapped, biased, masked) value
 *
 * and its gradients, on the processor or the GPU, never storing the score matrix. docs/contract.md
 * says what a call means; this header says how it is made.
 *
 * Rules that hold for every function here:
 *  - A call allocates nothing, waits for nothing it did not start, prints nothing and never aborts.
 *    Scratch memory comes from the caller: ask tw_workspace for its exact size. (Exceptions: on
 *    first use, or in tw_prepare, threads start, and kernels for a GPU are compiled and loaded;
 *    tw_explain takes memory for the short run that it times; tw_take_faults waits for a stream.
 *    devices.h, which this includes, has functions that allocate and wait, as their names say.)
 *  - A call that is refused changes nothing. It returns a status and writes one sentence into
 *    `message` (at most `message_bytes` bytes with the final 0; null and 0 are fine).
 *  - Every struct but tw_tensor and tw_device begins with its own size: set it to sizeof(the
 *    struct), and the rest to zero, then fill in what you need. A zero never switches anything on.
 *  - Any function may be called from any thread; concurrent calls need their own outputs and
 *    workspace.
 */
#ifndef TILEWISE_TILEWISE_H
#define TILEWISE_TILEWISE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define TW_API
#else
#define TW_API __attribute__((visibility("default")))
#endif

#define TW_VERSION_MAJOR 0
#define TW_VERSION_MINOR 3
#define TW_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* How a call ended. */
typedef enum tw_status {
  TW_OK = 0,
  TW_INVALID = 1,     /* the request is wrong: the message says what was given, what is allowed */
  TW_UNSUPPORTED = 2, /* the request is right, but nothing in this library or machine can run it */
  TW_FAILED = 3       /* the machine failed (out of memory, a device error), or a tw_parallel did */
} tw_status;

/* Element types. Masks take TW_BOOL, lengths and tables TW_INT32 or TW_INT64. */
typedef enum tw_dtype {
  TW_FLOAT32 = 1,
  TW_FLOAT64 = 2,
  TW_FLOAT16 = 3,
  TW_BFLOAT16 = 4,
  TW_FLOAT8_E4M3 = 5, /* finite: no infinities, largest 448 */
  TW_FLOAT8_E5M2 = 6, /* IEEE-like: infinities, largest 57344 */
  TW_BOOL = 7,        /* one byte; 0 is false, anything else is true */
  TW_INT32 = 8,
  TW_INT64 = 9
} tw_dtype;

/* A strided view of the caller's memory, 128 bytes, frozen. rank 0 means "absent".
 * Element (i, j, ...) lies at data + byte_offset + (i * stride[0] + j * stride[1] + ...) elements.
 * Strides count elements; they may be zero or negative, except that an output visits every byte at
 * most once. The last dimension is contiguous (stride 1, or a size of at most 1). */
typedef struct tw_tensor {
  void* data;          /* the start of the buffer */
  int64_t byte_offset; /* from data to the first element */
  int64_t byte_size;   /* of the whole buffer, counted from data; 0 = unknown, then unchecked */
  int64_t shape[4];
  int64_t stride[4];
  int32_t dtype;       /* tw_dtype */
  int32_t rank;        /* 0 = absent, at most 4 */
  int64_t reserved[4]; /* zero */
} tw_tensor;

/* Which queries see which keys. Inside one sequence, query i sees key j when all of these hold:
 *   -left <= j - i - d <= right, d being the diagonal (a side that is not limited always holds);
 *   floor(j / chunk) == floor((i + d) / chunk), when there are chunks;
 *   visible[b, h, i, j] is true, when there is such a tensor;
 *   blocks[b, h, i / block_query, j / block_key] is not 0, when there is such a tensor.
 * Causal attention is {has_right = 1, right = 0}. */
typedef enum tw_diagonal {
  TW_BOTTOM_RIGHT = 0, /* d = keys - queries of the sequence: the last query sees the last key */
  TW_TOP_LEFT = 1,     /* d = 0: the first query sees the first key */
  TW_SHIFTED = 2       /* d = tw_mask.shift: ring steps, shards */
} tw_diagonal;

typedef struct tw_mask {
  size_t size;
  int32_t has_left, has_right;    /* 1 when left, right limit what is seen */
  int64_t left, right;            /* may be negative: right = -1 hides the diagonal itself */
  int32_t diagonal;               /* tw_diagonal; also the zero of ALiBi's distance and of chunks */
  int64_t shift;                  /* with TW_SHIFTED */
  int64_t chunk;                  /* 0 = none */
  tw_tensor visible;              /* bool (batch|1, heads|1, queries|1, keys|1) */
  tw_tensor blocks;               /* bool (batch|1, heads|1, ceil(queries/bq), ceil(keys/bk)) */
  int32_t block_query, block_key; /* bq and bk: multiples of 16 */
} tw_mask;

/* What a score is: scale * q.k -> softcap * tanh(./softcap) -> - slope * |i + d - j| -> + bias.
 * Everything here goes by query head. Where query is float64, slopes and sinks may be, too. */
typedef struct tw_scores {
  size_t size;
  int32_t has_scale; /* 0: the scale is 1/sqrt(head dim) */
  double scale;      /* finite, any sign */
  double softcap;    /* 0 = none */
  tw_tensor slopes;  /* ALiBi: float32 (heads) or (batch, heads) */
  tw_tensor bias;    /* any float type (batch|1, heads|1, queries|1, keys|1); -inf hides the key */
  tw_tensor sinks;   /* float32 (heads): one more logit in each denominator */
} tw_scores;

/* Dropout of probabilities by Philox4x32-7: the same mask on every backend, tile and pass. */
typedef struct tw_dropout {
  size_t size;
  double probability; /* in [0, 1), taken to the nearest 1/65536; 0 = none */
  uint64_t seed, offset;
  const uint64_t* state; /* {seed, offset} in the device's memory; null: the two fields above */
  int64_t base[4];       /* added to batch, head, query and key index: shards, packed sequences */
} tw_dropout;

/* Where the sequences of one side (queries or keys) lie. With `offsets` the side is packed:
 * sequence b owns rows offsets[b] .. offsets[b + 1] of (tokens, heads, dim). Without, sequence b is
 * row b of the batch. Of its rows, `start[b]` .. `used[b]` count (0 .. all of them by default); the
 * indices i and j above count from `start[b]`. Rows that do not count are neither read nor written.
 */
typedef struct tw_sequences {
  size_t size;
  tw_tensor offsets;  /* int32 or int64 (batch + 1), never decreasing */
  tw_tensor used;     /* int32 or int64 (batch) */
  tw_tensor start;    /* int32 or int64 (batch): skips left padding */
  int64_t max_length; /* no sequence is longer; 0: read from offsets, which are then on the host */
} tw_sequences;

/* Keys and values that lie in a cache: in pages (then options.keys says how many are used), or in
 * rows picked by an index. */
typedef struct tw_cache {
  size_t size;
  tw_tensor page_table; /* int32 or int64 (batch, columns): key is (pages, page size, heads, dim) */
  tw_tensor batch_index; /* int32 or int64 (batch): sequence b lies in row batch_index[b] of key */
} tw_cache;

/* Factors that widen FP8 tensors: the value meant is factor * element. float32, or float64 where
 * query is, (batch|1, key heads|1); those of query and output_gradient go by key head, too. */
typedef struct tw_scaling {
  size_t size;
  tw_tensor query, key, value, output_gradient;
} tw_scaling;

/* All that may be asked beyond plain attention; null pointers ask for nothing. */
typedef struct tw_options {
  size_t size;
  const tw_mask* mask;
  const tw_scores* scores;
  const tw_dropout* dropout;
  const tw_sequences* queries;
  const tw_sequences* keys;
  const tw_cache* cache;
  const tw_scaling* scaling;
  int32_t deterministic; /* backward: the same bits every time. (Forward always is.) */
} tw_options;

/* Backward's own tensors. Each gradient wanted is given; the others stay absent. Shapes and layouts
 * are those of the tensor differentiated; bias, slopes and sinks gradients are summed over what was
 * broadcast and written whole. Rows that no sequence owns are left as they are. */
typedef struct tw_gradients {
  size_t size;
  tw_tensor output;              /* in: the gradient that arrives at output */
  tw_tensor lse;                 /* in, optional: the gradient that arrives at lse */
  tw_tensor query, key, value;   /* out */
  tw_tensor bias, slopes, sinks; /* out */
} tw_gradients;

/* One attention: heads is a multiple of key heads, and query head h reads key head
 * h / (heads / key heads).
 *   query  (batch, queries, heads, dim)         packed: (tokens, heads, dim)
 *   key    (batch, keys, key heads, dim)        packed: (tokens, key heads, dim); paged: tw_cache
 *   value  (batch, keys, key heads, value dim)  likewise
 *   output (batch, queries, heads, value dim)   packed: (tokens, heads, value dim)
 *   lse    (batch, heads, queries)              packed: (heads, tokens)
 * query, key and value share one float type; output and gradients may be of any. lse is float32, or
 * float64 where query is: the natural logarithm of the softmax's denominator, sink included, before
 * dropout. forward writes output, and lse where given; backward reads both, and `gradients`. A
 * query that sees no key gets output 0 and lse -inf (with a sink: the sink). */
typedef struct tw_request {
  size_t size;
  tw_tensor query, key, value, output, lse;
  const tw_options* options;     /* null: plain attention */
  const tw_gradients* gradients; /* backward only */
} tw_request;

typedef enum tw_operation {
  TW_FORWARD = 0,
  TW_BACKWARD = 1,
  TW_PROBABILITIES = 2 /* 3 is kept for the second-order gradient */
} tw_operation;

typedef enum tw_device_kind { TW_CPU = 0, TW_CUDA = 1 } tw_device_kind;

typedef struct tw_device {
  int32_t kind; /* tw_device_kind */
  int32_t index;
} tw_device;

/* An embedder's threads, in place of the library's pool: calls task(argument, t, worker) for every
 * t in [0, tasks), in any order, and returns when all are done. `worker` in [0, workers) is never
 * in use twice at a time. A task or worker out of range does not run, and the call fails. */
typedef void (*tw_task)(void* argument, int64_t task, int32_t worker);
typedef struct tw_parallel {
  size_t size;
  void (*parallel_for)(void* host, int64_t tasks, tw_task task, void* argument);
  void* host;
  int32_t workers;
} tw_parallel;

/* What was wrong in tables on the device. The host does not read them, so it could not refuse the
 * call. The call stayed inside every buffer; keys that it could not find do not count. */
typedef enum tw_fault {
  TW_FAULT_LENGTH = 1,  /* a length, start or offset out of range, or past max_length */
  TW_FAULT_TABLE = 2,   /* a page or row that the cache does not have */
  TW_FAULT_POSITION = 4 /* a position that the rotary tables do not have */
} tw_fault;

/* Where and with what a call runs; null is the processor, its threads and no workspace. Tensors,
 * the workspace and dropout.state lie in the memory of `device`. Tables (offsets, lengths, starts,
 * positions, indices, page tables) of one call lie all on the host or all on the device; with
 * offsets on the device, max_length must be given. Tables of the host are read before the call
 * returns; a graph that captures the call keeps what they said. Only the caller clears an error
 * word, which lies in no tensor, table or workspace of the call. */
typedef struct tw_execution {
  size_t size;
  tw_device device;
  void* stream; /* CUDA: a cudaStream_t; null is the legacy default stream */
  void* workspace;
  size_t workspace_bytes;
  int32_t threads; /* at most this many; 0: TILEWISE_NUM_THREADS, or all this process may use */
  const tw_parallel* parallel;
  uint32_t* error;       /* on the device: gets the bits of tw_fault; null: see tw_take_faults */
  const char* backend;   /* by its name the only one that may run this; null: the best one */
  int32_t device_tables; /* 1: tables lie on the device, too; 0: on the host */
  int32_t reserved;      /* zero */
} tw_execution;

TW_API tw_status tw_forward(const tw_request* request, const tw_execution* execution, char* message,
                            size_t message_bytes);

TW_API tw_status tw_backward(const tw_request* request, const tw_execution* execution,
                             char* message, size_t message_bytes);

/* exp(score - the row's largest score), unnormalised, negative where dropout drops, 0 where hidden,
 * into output (batch, heads, queries, keys), also for packed calls (then at least as large as the
 * longest sequences). value and lse are not read. Quadratic by nature: for tests and for people who
 * look at weights. */
TW_API tw_status tw_probabilities(const tw_request* request, const tw_execution* execution,
                                  char* message, size_t message_bytes);

/* The exact number of workspace bytes that this request takes under this execution; data pointers
 * may be null. What the workspace holds on entry does not matter. */
TW_API tw_status tw_workspace(tw_operation operation, const tw_request* request,
                              const tw_execution* execution, size_t* bytes, char* message,
                              size_t message_bytes);

/* Checks a request and does now what its first call would otherwise do on the way: start threads,
 * compile and load kernels. Data pointers may be null. tw_prepare_rotary, _append and _merge do the
 * same for the operations below. */
TW_API tw_status tw_prepare(tw_operation operation, const tw_request* request,
                            const tw_execution* execution, char* message, size_t message_bytes);

/* Says which backend runs a request and how: its kernels, tile, workspace, work, traffic and time.
 * Data pointers may be null. Writes at most text_bytes (with the final 0); *needed is what all of
 * it takes. */
typedef enum tw_format { TW_TEXT = 0, TW_JSON = 1 } tw_format;
TW_API tw_status tw_explain(tw_operation operation, const tw_request* request,
                            const tw_execution* execution, tw_format format, char* text,
                            size_t text_bytes, size_t* needed, char* message, size_t message_bytes);

/* Rotary embedding tables: row p holds the cosines, sines of position p; they rotate the first
 * 2 * columns elements of each head. */
typedef struct tw_rotation {
  size_t size;
  tw_tensor cosine, sine; /* any float type (positions, columns) */
  int32_t interleaved;    /* pairs (2c, 2c + 1); 0: pairs (c, c + columns) */
} tw_rotation;

/* Rotates (batch, length, heads, dim), or packed (tokens, heads, dim), into output; row t of
 * sequence b takes position positions[b] + t. With inverse = 1 it turns back, which is also the
 * gradient: rotate output's gradient to get input's. */
typedef struct tw_rotary_request {
  size_t size;
  tw_tensor input, output;
  const tw_rotation* rotation;
  const tw_sequences* sequences; /* null: all rows of a dense batch */
  tw_tensor positions;           /* int32 or int64 (batch); absent: 0 */
  int32_t fixed;                 /* 1: every row of sequence b takes position positions[b] */
  int32_t inverse;
} tw_rotary_request;
TW_API tw_status tw_rotary(const tw_rotary_request* request, const tw_execution* execution,
                           char* message, size_t message_bytes);
TW_API tw_status tw_prepare_rotary(const tw_rotary_request* request, const tw_execution* execution,
                                   char* message, size_t message_bytes);

/* Writes new keys and values behind the first lengths[b] rows of each cached sequence, and rotates:
 * new key t at position lengths[b] + t, query t there too, or with fixed_query = 1 all of them at
 * lengths[b] (what is usual without a causal mask or window). Attention over the result uses the
 * lengths after the append. The caches are in-out; nothing else may overlap them. */
typedef struct tw_append_request {
  size_t size;
  tw_tensor key, value;             /* new rows: (batch, new, key heads, dim) or packed */
  tw_tensor key_cache, value_cache; /* (rows, capacity, key heads, dim), or pages: tw_cache */
  tw_tensor lengths;                /* int32 or int64 (batch), before the append */
  const tw_sequences* keys;         /* where the new rows lie; null: a dense batch */
  const tw_cache* cache;            /* null: sequence b lies in row b of the caches */
  const tw_rotation* rotation;      /* null: as they are */
  tw_tensor query, rotated_query;   /* optional, with a rotation: in, out */
  const tw_sequences* queries;
  int32_t fixed_query;
} tw_append_request;
TW_API tw_status tw_append(const tw_append_request* request, const tw_execution* execution,
                           char* message, size_t message_bytes);
TW_API tw_status tw_prepare_append(const tw_append_request* request, const tw_execution* execution,
                                   char* message, size_t message_bytes);

/* Merges attention over parts of the keys into attention over all of them. Each part has an output
 * (batch, queries, heads, value dim) and an lse (batch, heads, queries), or the packed forms. The
 * sink, being one logit of the whole, belongs here and not into the parts. */
typedef struct tw_merge_request {
  size_t size;
  const tw_tensor* outputs; /* parts of them */
  const tw_tensor* lses;
  int64_t parts;
  tw_tensor sinks; /* optional, float32 or float64 (heads) */
  tw_tensor output, lse;
} tw_merge_request;
TW_API tw_status tw_merge(const tw_merge_request* request, const tw_execution* execution,
                          char* message, size_t message_bytes);
TW_API tw_status tw_prepare_merge(const tw_merge_request* request, const tw_execution* execution,
                                  char* message, size_t message_bytes);

TW_API const char* tw_version(void);

/* Backends in the order they are tried: name i, or null past the end. */
TW_API const char* tw_backend_name(int32_t i);

/* A dtype's name, such as "bfloat16", and the bytes of one element; null and 0 for other numbers.
 */
TW_API const char* tw_dtype_name(int32_t dtype);
TW_API size_t tw_dtype_bytes(int32_t dtype);

/* As tw_workspace, for tw_rotary and tw_append: 0 on the processor, and on a device what tables on
 * the host need. */
TW_API tw_status tw_workspace_rotary(const tw_rotary_request* request,
                                     const tw_execution* execution, size_t* bytes, char* message,
                                     size_t message_bytes);
TW_API tw_status tw_workspace_append(const tw_append_request* request,
                                     const tw_execution* execution, size_t* bytes, char* message,
                                     size_t message_bytes);

/* Moves the bits of tw_fault from the library's own error word of execution's device into *faults,
 * and clears the word. Calls without an `error` of their own set that word. Waits until all work on
 * execution's stream is done, so the bits are of every call enqueued there, and of some on other
 * streams. A stream that is captured is refused. On the processor *faults is always 0, since tables
 * are checked there before a call. */
TW_API tw_status tw_take_faults(const tw_execution* execution, uint32_t* faults, char* message,
                                size_t message_bytes);

#ifdef __cplusplus
}
#endif

#include "tilewise/devices.h"

#endif
