#include "fuzz/memory.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "fuzz/answer.h"

namespace tilewise::fuzz {
namespace {

constexpr double kMostElements = 1 << 16;

std::int64_t bytes_of(const tw_tensor& tensor) {
  return static_cast<std::int64_t>(tw_dtype_bytes(tensor.dtype));
}

// The byte that each element begins at, counted from `data`.
void for_each_element(const tw_tensor& tensor, const std::function<void(std::int64_t)>& visit) {
  const auto count = static_cast<std::int64_t>(elements(tensor));
  for (std::int64_t n = 0; n < count; ++n) {
    std::int64_t rest = n, at = 0;
    for (std::int32_t axis = tensor.rank; axis-- > 0; rest /= tensor.shape[axis]) {
      const std::int64_t index = rest % tensor.shape[axis];
      if (index > 0) at += index * tensor.stride[axis];
    }
    visit(tensor.byte_offset + at * bytes_of(tensor));
  }
}

}  // namespace

double elements(const tw_tensor& tensor) {
  double count = tensor.rank > 0 ? 1 : 0;
  for (std::int32_t axis = 0; axis < std::min(tensor.rank, 4); ++axis)
    count *= static_cast<double>(tensor.shape[axis]);
  return count;
}

std::byte* Memory::take(std::size_t bytes) {
  Buffer buffer{std::make_unique<std::byte[]>(bytes), bytes, {}};
  // For half of the seeds small positive numbers in every float type, otherwise all patterns.
  for (std::size_t i = 0; i < bytes; ++i)
    buffer.bytes[i] = static_cast<std::byte>(seed_ < 128 ? 0x38 + i % 3 : i * 31 + seed_);
  buffers_.push_back(std::move(buffer));
  return buffers_.back().bytes.get();
}

tw_tensor Memory::tensor(std::int32_t dtype, const std::vector<std::int64_t>& shape) {
  tw_tensor made{};
  made.dtype = dtype;
  made.rank = static_cast<std::int32_t>(shape.size());
  std::int64_t stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;
       stride *= std::max<std::int64_t>(1, shape[axis])) {
    made.shape[axis] = shape[axis];
    made.stride[axis] = stride;
  }
  made.byte_size = stride * bytes_of(made);
  made.data = take(static_cast<std::size_t>(made.byte_size));
  return made;
}

tw_tensor Memory::integers(std::int32_t dtype, const std::vector<std::int64_t>& values) {
  const tw_tensor made = tensor(dtype, {static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == TW_INT64) {
      static_cast<std::int64_t*>(made.data)[i] = values[i];
    } else {
      static_cast<std::int32_t*>(made.data)[i] = static_cast<std::int32_t>(values[i]);
    }
  }
  return made;
}

const Memory::Buffer* Memory::holder(const void* address) const {
  const auto* at = static_cast<const std::byte*>(address);
  for (const Buffer& buffer : buffers_) {
    if (buffer.bytes.get() <= at && at < buffer.bytes.get() + buffer.size) return &buffer;
  }
  return nullptr;
}

void Memory::be_honest(tw_tensor& tensor) const {
  const Buffer* buffer = tensor.data ? holder(tensor.data) : nullptr;
  if (!buffer) {
    tensor.data = nullptr;
    return;
  }
  const std::int64_t room =
      buffer->bytes.get() + buffer->size - static_cast<std::byte*>(tensor.data);
  // 0 would be "unknown", and then the library has to believe the shape.
  if (tensor.byte_size == 0 || tensor.byte_size > room) tensor.byte_size = room;
}

void Memory::remember() {
  for (Buffer& buffer : buffers_)
    buffer.before.assign(buffer.bytes.get(), buffer.bytes.get() + buffer.size);
}

void Memory::expect_unchanged() const {
  for (const Buffer& buffer : buffers_) {
    if (!std::equal(buffer.before.begin(), buffer.before.end(), buffer.bytes.get()))
      wrong("a refused call changed memory");
  }
}

void Memory::visit(const Part& part, Marks& marks, const std::function<void(char&)>& each) const {
  const tw_tensor& tensor = *part.tensor;
  if (elements(tensor) > kMostElements) return;
  const Buffer* buffer = holder(tensor.data);
  for_each_element(tensor, [&](std::int64_t begin) {
    if (!buffer) wrong("%s was accepted without memory", part.name);
    const std::int64_t at = static_cast<std::byte*>(tensor.data) - buffer->bytes.get() + begin;
    const std::int64_t end = at + bytes_of(tensor);
    if (at < 0 || end > static_cast<std::int64_t>(buffer->size))
      wrong("%s was accepted with an element outside its buffer", part.name);
    auto& mark = marks[static_cast<std::size_t>(buffer - buffers_.data())];
    std::for_each(mark.begin() + at, mark.begin() + end, each);
  });
}

Memory::Marks Memory::outputs(const std::vector<Part>& parts) const {
  Marks marks;
  for (const Buffer& buffer : buffers_) marks.emplace_back(buffer.size, 0);
  for (const Part& part : parts) {
    if (!part.is_output) continue;
    visit(part, marks, [&](char& mark) {
      if (mark != 0) wrong("%s was accepted with bytes that are written twice", part.name);
      mark = 1;
    });
  }
  for (const Part& part : parts) {
    if (part.is_output) continue;
    visit(part, marks, [&](char& mark) {
      if (mark != 0) wrong("%s was accepted with bytes of an output", part.name);
    });
  }
  return marks;
}

void Memory::expect_unchanged_outside(const std::vector<Part>& parts) const {
  const Marks marks = outputs(parts);
  for (const Part& part : parts) {
    if (part.is_output && elements(*part.tensor) > kMostElements) return;
  }
  for (std::size_t b = 0; b < buffers_.size(); ++b) {
    const Buffer& buffer = buffers_[b];
    for (std::size_t i = 0; i < buffer.size; ++i) {
      if (marks[b][i] == 0 && buffer.before[i] != buffer.bytes[i])
        wrong("a call wrote to byte %zu of a buffer, which is no output's", i);
    }
  }
}

}  // namespace tilewise::fuzz
