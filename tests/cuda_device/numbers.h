// 16-bit tensors of a real GPU with any strides, for calls that are compared with other calls,
// because they are too large or too many for the oracle.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cuda_device/gpu.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::gpu {

// Memory, empty where the GPU has no more of it.
class Block {
 public:
  explicit Block(std::size_t bytes);
  ~Block();
  Block(Block&& other) noexcept : place_(other.place_), bytes_(other.bytes_) { other.place_ = 0; }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  [[nodiscard]] bool is_there() const { return place_ != 0; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  // What lies so many bytes behind its beginning.
  [[nodiscard]] void* at(std::size_t offset) const;

 private:
  Address place_ = 0;
  std::size_t bytes_ = 0;
};

using Bytes = std::vector<unsigned char>;

// The sizes of a dense attention.
struct Sizes {
  std::int64_t batch, queries, keys, heads, key_heads, dim;
};

// Each row that a tensor has, in order, from the GPU and to it.
Bytes read(const Tensor& tensor);
void write(const Tensor& tensor, const Bytes& bytes);
// draw fills a tensor with numbers between -1 and 1 that depend on the seed, blank with NaN.
void draw(const Tensor& tensor, std::uint32_t seed);
void blank(const Tensor& tensor);
std::size_t bytes_of(const Tensor& tensor);

// The rows [first, first + count) of one dimension.
Tensor part_of(const Tensor& tensor, int axis, std::int64_t first, std::int64_t count);

// A dense attention, its inputs drawn and its results blank: those of forward, or of backward too.
// It keeps their memory.
class Attention {
 public:
  enum class Part { kForward, kAll };
  explicit Attention(const Sizes& sizes, Part part = Part::kAll);

  // A tensor of the same memory.
  Tensor more(tw_dtype dtype, std::initializer_list<std::int64_t> shape);
  [[nodiscard]] static std::vector<Tensor> results(const Request& request, tw_operation operation);

  Request request{};  // of forward
  Gradients gradients{};

 private:
  std::vector<Block> blocks_;
};

// Makes a call with a workspace of its own, waits for it, and returns its message, which is empty
// for success. The call must run by tensor cores.
std::string run(tw_operation operation, const Request& request, Handle stream = nullptr);

}  // namespace tilewise::gpu
