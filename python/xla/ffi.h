// The part of XLA's foreign function interface, version 0, that calls of attention need. It is
// declared here, so that no header of jaxlib is needed to build, nor jaxlib's files to run.
// python/tests/test_jax_ffi.py compares these declarations with jaxlib's header.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tilewise::xla::ffi {

inline constexpr int kMajor = 0;

enum : int { kMetadataExtension = 1 };
enum : int { kExecute = 3 };  // the stage of a call
enum : int { kBufferItem = 1 };
enum : int { kScalar = 3, kString = 4 };  // kinds of attributes
enum : int { kInvalidArgument = 3, kResourceExhausted = 8, kUnimplemented = 12, kInternal = 13 };
// Element types.
enum : int {
  kPred = 1,
  kS32 = 4,
  kS64 = 5,
  kF16 = 10,
  kF32 = 11,
  kF64 = 12,
  kBF16 = 16,
};

struct Error;
struct Context;  // of one execution

struct Extension {
  std::size_t size;
  int type;
  Extension* next;
};

struct Version {
  std::size_t size;
  Extension* extension;
  int major, minor;
};

struct Metadata {
  std::size_t size;
  Version version;
  std::uint32_t traits;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct Buffer {
  std::size_t size;
  Extension* extension;
  int dtype;
  void* data;
  std::int64_t rank;
  std::int64_t* shape;
};

struct Text {  // without a 0 at its end
  const char* data;
  std::size_t bytes;
};
struct Scalar {
  int dtype;
  void* value;
};

// The operands or the results of a call.
struct Buffers {
  std::size_t size;
  Extension* extension;
  std::int64_t count;
  int* kinds;
  void** items;  // of kBufferItem: Buffer*
};
struct Attributes {
  std::size_t size;
  Extension* extension;
  std::int64_t count;
  int* kinds;
  Text** names;
  void** values;  // of kScalar: Scalar*; of kString: Text*
};

struct CreateError {
  std::size_t size;
  Extension* extension;
  const char* message;
  int code;
};
// From version 0.4 on it has `code`; older runtimes accept the longer struct.
struct AskError {
  std::size_t size;
  Extension* extension;
  Error* error;
  const char* message;  // out
  int code;             // out
};
struct DestroyError {
  std::size_t size;
  Extension* extension;
  Error* error;
};
struct GetStream {
  std::size_t size;
  Extension* extension;
  Context* context;
  void* stream;  // out
};
struct Allocate {
  std::size_t size;
  Extension* extension;
  Context* context;
  std::size_t bytes, alignment;
  void* data;  // out
};
struct Free {
  std::size_t size;
  Extension* extension;
  Context* context;
  std::size_t bytes;
  void* data;
};
struct GetDevice {
  std::size_t size;
  Extension* extension;
  Context* context;
  std::int32_t ordinal;  // out
};

// An older runtime has a shorter struct; see `size`.
struct Api {
  std::size_t size;
  Extension* extension;
  Version version;
  const void* internal;
  Error* (*create_error)(CreateError*);
  void (*ask_error)(AskError*);
  void (*destroy_error)(DestroyError*);
  void* register_handler;
  Error* (*stream)(GetStream*);
  void* of_types[4];  // and of states
  Error* (*allocate)(Allocate*);
  Error* (*free)(Free*);
  void* of_threads[2];
  void* of_futures[3];
  void* run_id;
  Error* (*device)(GetDevice*);
};

struct CallFrame {
  std::size_t size;
  Extension* extension;
  const Api* api;
  Context* context;
  int stage;
  Buffers operands, results;
  Attributes attributes;
};

}  // namespace tilewise::xla::ffi
