#include "cuda_device/numbers.h"

#include <cstring>
#include <numeric>

#include "cuda_device/twins.h"

namespace tilewise::gpu {
namespace {

Address address_of(const void* place) {
  return static_cast<Address>(reinterpret_cast<std::uintptr_t>(place));
}

// How many of the last dimensions lie densely, as one piece.
int dense_axes(const Tensor& tensor) {
  std::int64_t next = 1;
  int axes = 0;
  for (int axis = tensor.rank; axis-- > 0 && tensor.stride[axis] == next; ++axes)
    next *= tensor.shape[axis];
  return axes;
}

// visit(address, offset among all bytes, bytes) for each dense piece.
template <class Visit>
void for_each_piece(const Tensor& tensor, const Visit& visit) {
  const int outer = tensor.rank - dense_axes(tensor);
  const auto element = static_cast<std::int64_t>(tw_dtype_bytes(tensor.dtype));
  std::int64_t pieces = 1, piece = element;
  for (int axis = 0; axis < tensor.rank; ++axis)
    (axis < outer ? pieces : piece) *= tensor.shape[axis];
  for (std::int64_t n = 0; n < pieces; ++n) {
    std::int64_t place = 0, rest = n;
    for (int axis = outer; axis-- > 0; rest /= tensor.shape[axis])
      place += rest % tensor.shape[axis] * tensor.stride[axis];
    const auto at = address_of(tensor.data) + static_cast<Address>(place * element);
    visit(at, static_cast<std::size_t>(n * piece), static_cast<std::size_t>(piece));
  }
}

// The upper half of a float between -1 and 1.
std::uint16_t number(std::uint32_t bits) {
  const float drawn = static_cast<float>(bits >> 8) * 0x1p-23F - 1;
  std::uint32_t whole = 0;
  std::memcpy(&whole, &drawn, sizeof whole);
  return static_cast<std::uint16_t>(whole >> 16);
}

}  // namespace

Block::Block(std::size_t bytes) : bytes_(bytes) {
  if (started().allocate(&place_, bytes) != 0) place_ = 0;
}

Block::~Block() {
  if (place_ != 0) driver().release(place_);
}

void* Block::at(std::size_t offset) const {
  return reinterpret_cast<void*>(place_ + offset);
}

std::size_t bytes_of(const Tensor& tensor) {
  return std::accumulate(tensor.shape, tensor.shape + tensor.rank, tw_dtype_bytes(tensor.dtype),
                         [](std::size_t product, std::int64_t size) {
                           return product * static_cast<std::size_t>(size);
                         });
}

Bytes read(const Tensor& tensor) {
  Bytes bytes(bytes_of(tensor));
  for_each_piece(tensor, [&](Address at, std::size_t offset, std::size_t size) {
    must(started().to_host(bytes.data() + offset, at, size), "a copy");
  });
  return bytes;
}

void write(const Tensor& tensor, const Bytes& bytes) {
  for_each_piece(tensor, [&](Address at, std::size_t offset, std::size_t size) {
    must(started().to_device(at, bytes.data() + offset, size), "a copy");
  });
  must(driver().wait(nullptr), "to wait for a copy");
}

void draw(const Tensor& tensor, std::uint32_t seed) {
  Bytes bytes(bytes_of(tensor));
  std::uint32_t state = seed * 2654435761U + 1;
  for (std::size_t n = 0; n + 1 < bytes.size(); n += 2) {
    state = state * 1664525U + 1013904223U;
    const std::uint16_t drawn = number(state);
    std::memcpy(bytes.data() + n, &drawn, sizeof drawn);
  }
  write(tensor, bytes);
}

void blank(const Tensor& tensor) {
  write(tensor, Bytes(bytes_of(tensor), 0xFF));
}

Tensor part_of(const Tensor& tensor, int axis, std::int64_t first, std::int64_t count) {
  Tensor part = tensor;
  const auto element = static_cast<std::int64_t>(tw_dtype_bytes(tensor.dtype));
  part.data = static_cast<char*>(tensor.data) + first * tensor.stride[axis] * element;
  part.shape[axis] = count;
  return part;
}

Attention::Attention(const Sizes& sizes, Part part) {
  std::uint32_t seed = 0;
  const auto rows = [&](std::int64_t count, std::int64_t heads, bool is_drawn) {
    const Tensor tensor = more(TW_BFLOAT16, {sizes.batch, count, heads, sizes.dim});
    if (is_drawn) draw(tensor, ++seed);
    return tensor;
  };
  request.query = rows(sizes.queries, sizes.heads, true);
  request.key = rows(sizes.keys, sizes.key_heads, true);
  request.value = rows(sizes.keys, sizes.key_heads, true);
  request.output = rows(sizes.queries, sizes.heads, false);
  request.lse = more(TW_FLOAT32, {sizes.batch, sizes.heads, sizes.queries});
  if (part == Part::kForward) return;
  gradients.output = rows(sizes.queries, sizes.heads, true);
  gradients.query = rows(sizes.queries, sizes.heads, false);
  gradients.key = rows(sizes.keys, sizes.key_heads, false);
  gradients.value = rows(sizes.keys, sizes.key_heads, false);
}

Tensor Attention::more(tw_dtype dtype, std::initializer_list<std::int64_t> shape) {
  const Tensor nowhere = dense(nullptr, dtype, shape);
  const Block& block = blocks_.emplace_back(bytes_of(nowhere));
  if (!block.is_there()) must(2, "memory");
  const Tensor tensor = dense(block.at(0), dtype, shape);
  blank(tensor);
  return tensor;
}

std::vector<Tensor> Attention::results(const Request& request, tw_operation operation) {
  std::vector<Tensor> all{request.output, request.lse};
  if (operation == TW_BACKWARD)
    all = {request.gradients.query,  request.gradients.key,   request.gradients.value,
           request.gradients.slopes, request.gradients.sinks, request.gradients.bias};
  std::erase_if(all, [](const Tensor& each) { return each.rank == 0; });
  return all;
}

std::string run(tw_operation operation, const Request& request, Handle stream) {
  Execution where = on_device(stream);
  std::string plan;
  Status status = explain(operation, request, plan, where);
  if (!status.ok()) return status.message;
  if (plan.find("tensor cores, head dims") == std::string::npos) return "It runs so:\n" + plan;
  status = workspace(operation, request, where.workspace_bytes, where);
  if (!status.ok()) return status.message;
  const Block room(where.workspace_bytes + 1);
  if (!room.is_there()) return "There is no memory for the workspace.";
  where.workspace = room.at(0);
  status = operation == TW_BACKWARD ? backward(request, where) : forward(request, where);
  must(driver().wait(stream), "to wait for a call");
  return status.message;
}

}  // namespace tilewise::gpu
