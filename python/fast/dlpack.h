// The structs of DLPack 1.x that this module reads, declared here so that no header of DLPack is
// needed.
#pragma once
#include <cstdint>

namespace tilewise::fast::dlpack {

inline constexpr std::uint32_t kMajor = 1;
enum : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3 };
enum : std::uint8_t {
  kInt = 0,
  kUInt = 1,
  kFloat = 2,
  kBfloat = 4,
  kBool = 6,
  kE4m3 = 10,
  kE5m2 = 12
};

struct DataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  std::int32_t device_type, device_index;
  std::int32_t rank;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // null: contiguous (before 1.2)
  std::uint64_t byte_offset;
};
struct Version {
  std::uint32_t major, minor;
};
struct ManagedVersioned {
  Version version;
  void* context;
  void (*release)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

// type(tensor).__dlpack_c_exchange_api__ is a capsule of this struct, named "dlpack_exchange_api".
struct Exchange {
  Version version;
  Exchange* previous;
  int (*allocate)(Tensor* like, ManagedVersioned** out, void* context,
                  void (*fail)(void* context, const char* kind, const char* message));
  int (*managed_from_object)(void* object, ManagedVersioned** out);
  int (*object_from_managed)(ManagedVersioned* tensor, void** object);
  int (*tensor_from_object)(void* object, Tensor* out);  // may be null
  int (*current_stream)(std::int32_t device_type, std::int32_t device_index, void** stream);
};

}  // namespace tilewise::fast::dlpack
