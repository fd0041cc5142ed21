#include "fuzz/surface.h"

namespace tilewise::fuzz {
namespace {

void spoil_place(Bytes& bytes, const Surface& surface, tw_tensor& tensor) {
  const tw_tensor& other = *surface.tensors[bytes.byte() % surface.tensors.size()].tensor;
  switch (bytes.byte() % 5) {
    case 0:
      tensor.data = nullptr;
      break;
    case 1:
      tensor = other;
      break;
    case 2:
      if (tensor.data) tensor.data = static_cast<std::byte*>(tensor.data) + bytes.from(0, 16);
      break;
    default:  // the same memory, and perhaps the same bytes
      tensor.data = other.data;
      tensor.byte_offset = 8 * bytes.from(0, 3);
      break;
  }
}

void spoil_tensor(Bytes& bytes, const Surface& surface, tw_tensor& tensor) {
  const int axis = bytes.byte() % 4;
  switch (bytes.byte() % 10) {
    case 0:
      tensor.shape[axis] = bytes.number(tensor.shape[axis]);
      break;
    case 1:
      tensor.stride[axis] = bytes.number(tensor.stride[axis]);
      break;
    case 2:
      tensor.byte_offset = bytes.number(tensor.byte_offset);
      break;
    case 3:
      tensor.byte_size = bytes.number(tensor.byte_size);
      break;
    case 4:
      tensor.dtype = static_cast<std::int32_t>(bytes.from(-1, 10));
      break;
    case 5:
      tensor.rank = static_cast<std::int32_t>(bytes.from(-1, 5));
      break;
    case 6:
      tensor.reserved[axis] = bytes.byte();
      break;
    default:
      spoil_place(bytes, surface, tensor);
      break;
  }
}

// Changes a length, an offset or an entry of a table in memory.
void spoil_index(Bytes& bytes, const Surface& surface) {
  std::vector<const tw_tensor*> tables;
  for (const Part& part : surface.tensors) {
    const bool is_index = part.tensor->dtype == TW_INT32 || part.tensor->dtype == TW_INT64;
    if (is_index && part.tensor->data && part.tensor->byte_size >= 8) tables.push_back(part.tensor);
  }
  if (tables.empty()) return;
  const tw_tensor& table = *bytes.one_of(tables);
  const auto width = static_cast<std::int64_t>(tw_dtype_bytes(table.dtype));
  auto* at =
      static_cast<std::byte*>(table.data) + width * (bytes.byte() % (table.byte_size / width));
  // The numbers of all machines that this runs on begin with their lowest byte.
  std::int64_t value = 0;
  std::memcpy(&value, at, static_cast<std::size_t>(width));
  value = bytes.number(value);
  std::memcpy(at, &value, static_cast<std::size_t>(width));
}

void spoil_size(Bytes& bytes, const SizeField& field) {
  const auto size = static_cast<std::size_t>(bytes.number(static_cast<std::int64_t>(*field.size)));
  // The library believes sizes up to 64 KiB and reads that much, so such a size must be true.
  if (size <= field.room || size > 65536) *field.size = size;
  if (bytes.flag()) field.later[bytes.byte() % 64] = std::byte{1};
}

template <class T>
void overwrite_all(Bytes& bytes, const std::vector<T*>& fields) {
  for (T* field : fields) *field = bytes.raw<T>();
}

}  // namespace

void spoil(Bytes& bytes, const Surface& surface, const Memory& memory) {
  const std::uint8_t kind = bytes.byte() % 16;
  if (kind < 6 && !surface.tensors.empty()) {
    tw_tensor& tensor = *surface.tensors[bytes.byte() % surface.tensors.size()].tensor;
    spoil_tensor(bytes, surface, tensor);
    memory.be_honest(tensor);
  } else if (kind < 8) {
    spoil_index(bytes, surface);
  } else if (kind < 10 && !surface.words.empty()) {
    std::int32_t& word = *surface.words[bytes.byte() % surface.words.size()];
    word = static_cast<std::int32_t>(bytes.number(word));
  } else if (kind < 12 && !surface.numbers.empty()) {
    std::int64_t& number = *surface.numbers[bytes.byte() % surface.numbers.size()];
    number = bytes.number(number);
  } else if (kind < 14 && !surface.reals.empty()) {
    *surface.reals[bytes.byte() % surface.reals.size()] = bytes.real();
  } else if (kind == 14) {
    spoil_size(bytes, surface.sizes[bytes.byte() % surface.sizes.size()]);
  } else if (!surface.forget.empty()) {
    surface.forget[bytes.byte() % surface.forget.size()]();
  }
}

void overwrite(Bytes& bytes, const Surface& surface, const Memory& memory) {
  for (const Part& part : surface.tensors) {
    void* const data = part.tensor->data;
    *part.tensor = bytes.raw<tw_tensor>();
    part.tensor->data = bytes.flag() ? data : nullptr;
    memory.be_honest(*part.tensor);
  }
  overwrite_all(bytes, surface.words);
  overwrite_all(bytes, surface.numbers);
  overwrite_all(bytes, surface.reals);
  for (const SizeField& field : surface.sizes) {
    if (bytes.flag()) spoil_size(bytes, field);
  }
  for (const auto& forget : surface.forget) {
    if (bytes.flag()) forget();
  }
}

}  // namespace tilewise::fuzz
