#include "problem/structs.h"

#include <cstring>

namespace tilewise {
namespace {

// A struct's size beyond this is taken for memory that was never filled in; its bytes are not read.
constexpr std::size_t kLargestStruct = 65536;

}  // namespace

Status check_size(const void* from, Sizes sizes, const char* field, const char* type) {
  std::size_t size = 0;
  std::memcpy(&size, from, sizeof size);
  if (size < sizes.first) {
    return invalid(
        "%s has size %zu but no version of %s has less than %zu bytes: set size to sizeof(%s).",
        field, size, type, sizes.first, type);
  }
  if (size > kLargestStruct) {
    return invalid("%s has size %zu, more than any version of it: set size to sizeof(%s).", field,
                   size, type);
  }
  const auto* bytes = static_cast<const unsigned char*>(from);
  for (std::size_t i = sizes.known; i < size; ++i) {
    if (bytes[i] != 0) {
      return unsupported(
          "%s uses fields of a newer tilewise: byte %zu of it is not 0 and this version knows %zu; "
          "update tilewise or leave those fields 0.",
          field, i, sizes.known);
    }
  }
  return {};
}

Status check_flag(core::int32 flag, const char* field) {
  if (flag != 0 && flag != 1) return invalid("%s is %d: it must be 0 or 1.", field, flag);
  return {};
}

}  // namespace tilewise
