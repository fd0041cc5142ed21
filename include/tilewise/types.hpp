// The arguments of the C++ face's calls. tilewise.h says what each member means.
#ifndef TILEWISE_TYPES_HPP
#define TILEWISE_TYPES_HPP

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>

#include "tilewise/tilewise.h"

// The inline namespace `face`, which callers need not name, keeps these types apart from types of
// the same names inside the library, which a program with the static library also links.
namespace tilewise {
inline namespace face {

using Tensor = tw_tensor;

struct [[nodiscard]] Status {
  tw_status code = TW_OK;
  std::string message;

  bool ok() const { return code == TW_OK; }
  explicit operator bool() const { return ok(); }
};

// A dense tensor, its last dimension contiguous.
inline Tensor dense(void* data, tw_dtype dtype, std::initializer_list<std::int64_t> shape) {
  Tensor tensor{};
  tensor.data = data;
  tensor.dtype = dtype;
  tensor.rank = static_cast<std::int32_t>(shape.size() < 5 ? shape.size() : 5);
  int axis = 0;
  for (std::int64_t size : shape)
    if (axis < 4) tensor.shape[axis++] = size;
  std::int64_t stride = 1;
  for (axis = tensor.rank < 4 ? tensor.rank : 4; axis-- > 0; stride *= tensor.shape[axis])
    tensor.stride[axis] = stride;
  return tensor;
}

// A dense tensor of an element type that C++ knows. Inputs are only read, so const is cast away for
// the ABI.
template <class T>
Tensor dense(T* data, std::initializer_list<std::int64_t> shape) {
  using Element = std::remove_const_t<T>;
  static_assert(std::is_same_v<Element, float> || std::is_same_v<Element, double> ||
                    std::is_same_v<Element, bool> || std::is_same_v<Element, std::int32_t> ||
                    std::is_same_v<Element, std::int64_t>,
                "name the dtype of other element types: dense(data, TW_BFLOAT16, shape)");
  constexpr tw_dtype kDtype = std::is_same_v<Element, float>          ? TW_FLOAT32
                              : std::is_same_v<Element, double>       ? TW_FLOAT64
                              : std::is_same_v<Element, bool>         ? TW_BOOL
                              : std::is_same_v<Element, std::int32_t> ? TW_INT32
                                                                      : TW_INT64;
  return dense(const_cast<Element*>(data), kDtype, shape);
}

struct Mask {
  std::optional<std::int64_t> left, right;  // none: unlimited
  tw_diagonal diagonal = TW_BOTTOM_RIGHT;
  std::int64_t shift = 0;
  std::int64_t chunk = 0;
  Tensor visible{};
  Tensor blocks{};
  std::int32_t block_query = 0, block_key = 0;
};

inline Mask causal() {
  Mask mask;
  mask.right = 0;
  return mask;
}

inline Mask window(std::optional<std::int64_t> left, std::optional<std::int64_t> right) {
  Mask mask;
  mask.left = left;
  mask.right = right;
  return mask;
}

struct Scores {
  std::optional<double> scale;  // none: 1/sqrt(dim)
  double softcap = 0;
  Tensor slopes{}, bias{}, sinks{};
};

struct Dropout {
  double probability = 0;
  std::uint64_t seed = 0, offset = 0;
  const std::uint64_t* state = nullptr;
  std::int64_t base[4] = {};
};

struct Sequences {
  Tensor offsets{}, used{}, start{};
  std::int64_t max_length = 0;
};

struct Cache {
  Tensor page_table{}, batch_index{};
};

struct Scaling {
  Tensor query{}, key{}, value{}, output_gradient{};
};

struct Gradients {
  Tensor output{}, lse{};
  Tensor query{}, key{}, value{}, bias{}, slopes{}, sinks{};
};

struct Request {
  Tensor query{}, key{}, value{}, output{}, lse{};
  Mask mask{};
  Scores scores{};
  Dropout dropout{};
  Sequences queries{}, keys{};
  Cache cache{};
  Scaling scaling{};
  bool deterministic = false;
  Gradients gradients{};  // backward only: other calls refuse them
};

// Where a call runs. Attention on the processor allocates a workspace if none is given; to avoid
// that, and on a device, give one of the size that `workspace` returns.
struct Execution {
  tw_device device{};
  void* stream = nullptr;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  std::int32_t threads = 0;
  const tw_parallel* parallel = nullptr;
  std::uint32_t* error = nullptr;
  const char* backend = nullptr;
  bool device_tables = false;
};

struct Rotation {
  Tensor cosine{}, sine{};
  bool interleaved = false;
};

struct RotaryRequest {
  Tensor input{}, output{};
  Rotation rotation{};
  Sequences sequences{};
  Tensor positions{};
  bool fixed = false, inverse = false;
};

struct AppendRequest {
  Tensor key{}, value{}, key_cache{}, value_cache{}, lengths{};
  Sequences keys{};
  Cache cache{};
  std::optional<Rotation> rotation;
  Tensor query{}, rotated_query{};
  Sequences queries{};
  bool fixed_query = false;
};

struct MergeRequest {
  const Tensor* outputs = nullptr;
  const Tensor* lses = nullptr;
  std::int64_t parts = 0;
  Tensor sinks{}, output{}, lse{};
};

// A choice of the GPU's kernels. An empty or zero member stands for all that this machine may use.
struct KernelChoice {
  std::string names, architectures;  // with commas between
  std::int32_t driver_version = 0;
};

}  // namespace face
}  // namespace tilewise

#endif
