#include "python/xla/request.h"

#include <cstdio>
#include <string_view>

namespace tilewise::xla {
namespace {

using Parts = Request::Parts;

struct Place {
  std::string_view name;
  std::size_t offset;  // of a tw_tensor in Parts
};

#define TW_PLACE(name, member) \
  { name, offsetof(Parts, member) }

constexpr Place kPlaces[] = {
    TW_PLACE("query", request.query),
    TW_PLACE("key", request.key),
    TW_PLACE("value", request.value),
    TW_PLACE("output", request.output),
    TW_PLACE("lse", request.lse),
    TW_PLACE("output_gradient", gradients.output),
    TW_PLACE("lse_gradient", gradients.lse),
    TW_PLACE("query_gradient", gradients.query),
    TW_PLACE("key_gradient", gradients.key),
    TW_PLACE("value_gradient", gradients.value),
    TW_PLACE("bias_gradient", gradients.bias),
    TW_PLACE("slopes_gradient", gradients.slopes),
    TW_PLACE("sinks_gradient", gradients.sinks),
    TW_PLACE("bias", scores.bias),
    TW_PLACE("slopes", scores.slopes),
    TW_PLACE("sinks", scores.sinks),
    TW_PLACE("mask", mask.visible),
    TW_PLACE("query_lengths", queries.used),
    TW_PLACE("key_lengths", keys.used),
};

#undef TW_PLACE

int32_t dtype_of(int type) {
  switch (type) {
    case ffi::kF16:
      return TW_FLOAT16;
    case ffi::kF32:
      return TW_FLOAT32;
    case ffi::kF64:
      return TW_FLOAT64;
    case ffi::kBF16:
      return TW_BFLOAT16;
    case ffi::kPred:
      return TW_BOOL;
    case ffi::kS32:
      return TW_INT32;
    case ffi::kS64:
      return TW_INT64;
    default:
      return 0;
  }
}

bool say(char* message, std::size_t bytes, const char* sentence, std::string_view name) {
  std::snprintf(message, bytes, sentence, static_cast<int>(name.size()), name.data());
  return false;
}

// Reads one of XLA's buffers, which are dense in C order.
bool read_tensor(const ffi::Buffer& from, tw_tensor& to) {
  constexpr int64_t kMostRank = 4;
  to.dtype = dtype_of(from.dtype);
  if (to.dtype == 0 || from.rank < 1 || from.rank > kMostRank) return false;
  to.data = from.data;
  to.rank = static_cast<int32_t>(from.rank);
  int64_t next = 1;
  for (int32_t i = to.rank - 1; i >= 0; --i) {
    to.shape[i] = from.shape[i];
    to.stride[i] = next;
    next *= from.shape[i];
  }
  return true;
}

tw_tensor* find(Parts& parts, std::string_view name) {
  for (const Place& place : kPlaces)
    if (place.name == name)
      return reinterpret_cast<tw_tensor*>(reinterpret_cast<char*>(&parts) + place.offset);
  return nullptr;
}

struct Sentence {
  char* text;
  std::size_t bytes;
};

bool read_buffers(const ffi::Buffers& buffers, std::string_view names, Parts& parts, Sentence to) {
  for (int64_t i = 0; i < buffers.count; ++i) {
    const std::string_view name = names.substr(0, names.find(' '));
    names.remove_prefix(name.size() < names.size() ? name.size() + 1 : name.size());
    tw_tensor* tensor = find(parts, name);
    if (tensor == nullptr) return say(to.text, to.bytes, "No operand is named \"%.*s\".", name);
    if (buffers.kinds[i] != ffi::kBufferItem ||
        !read_tensor(*static_cast<const ffi::Buffer*>(buffers.items[i]), *tensor))
      return say(to.text, to.bytes, "%.*s has a type or a rank that attention does not take.",
                 name);
  }
  return names.empty() ||
         say(to.text, to.bytes, "Names are left over for operands: \"%.*s\".", names);
}

template <class Value>
bool read_scalar(const ffi::Scalar& scalar, int dtype, Value& value) {
  if (scalar.dtype != dtype) return false;
  value = *static_cast<const Value*>(scalar.value);
  return true;
}

bool read_option(std::string_view name, const ffi::Scalar& scalar, Parts& parts) {
  tw_mask& mask = parts.mask;
  if (name == "scale") {
    parts.scores.has_scale = 1;
    return read_scalar(scalar, ffi::kF64, parts.scores.scale);
  }
  if (name == "softcap") return read_scalar(scalar, ffi::kF64, parts.scores.softcap);
  if (name == "left") {
    mask.has_left = 1;
    return read_scalar(scalar, ffi::kS64, mask.left);
  }
  if (name == "right") {
    mask.has_right = 1;
    return read_scalar(scalar, ffi::kS64, mask.right);
  }
  if (name == "shift") {
    mask.diagonal = TW_SHIFTED;
    return read_scalar(scalar, ffi::kS64, mask.shift);
  }
  return name == "deterministic" && read_scalar(scalar, ffi::kS32, parts.options.deterministic);
}

}  // namespace

Request::Request() {
  parts_.request.size = sizeof parts_.request;
  parts_.options.size = sizeof parts_.options;
  parts_.mask.size = sizeof parts_.mask;
  parts_.scores.size = sizeof parts_.scores;
  parts_.queries.size = sizeof parts_.queries;
  parts_.keys.size = sizeof parts_.keys;
  parts_.gradients.size = sizeof parts_.gradients;
  parts_.request.options = &parts_.options;
  parts_.options.mask = &parts_.mask;
  parts_.options.scores = &parts_.scores;
}

bool Request::read(const ffi::CallFrame& frame, char* message, std::size_t message_bytes) {
  std::string_view operands, results;
  const ffi::Attributes& attributes = frame.attributes;
  for (int64_t i = 0; i < attributes.count; ++i) {
    const std::string_view name(attributes.names[i]->data, attributes.names[i]->bytes);
    bool is_known = false;
    if (attributes.kinds[i] == ffi::kString && (name == "operands" || name == "results")) {
      const auto& text = *static_cast<const ffi::Text*>(attributes.values[i]);
      (name == "operands" ? operands : results) = std::string_view(text.data, text.bytes);
      is_known = true;
    } else if (attributes.kinds[i] == ffi::kScalar) {
      is_known = read_option(name, *static_cast<const ffi::Scalar*>(attributes.values[i]), parts_);
    }
    if (!is_known)
      return say(message, message_bytes, "The attribute %.*s is none of attention's.", name);
  }
  const Sentence to = {message, message_bytes};
  if (!read_buffers(frame.operands, operands, parts_, to)) return false;
  if (!read_buffers(frame.results, results, parts_, to)) return false;
  if (parts_.queries.used.rank != 0) parts_.options.queries = &parts_.queries;
  if (parts_.keys.used.rank != 0) parts_.options.keys = &parts_.keys;
  if (parts_.gradients.output.rank != 0) parts_.request.gradients = &parts_.gradients;
  return true;
}

}  // namespace tilewise::xla
