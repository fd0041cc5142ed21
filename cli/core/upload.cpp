#include "cli/core/upload.h"

#include <algorithm>

#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

void must(const Status& status) {
  if (status.ok()) return;
  throw Failure(status.code == TW_UNSUPPORTED ? kUnsupported : kFailed, status.message);
}

// The call's inputs that tensors_of leaves out.
std::vector<tw_tensor*> tables_of(Call& call) {
  return {&call.mask.visible,      &call.mask.blocks,   &call.queries.offsets,
          &call.queries.used,      &call.queries.start, &call.keys.offsets,
          &call.keys.used,         &call.keys.start,    &call.cache.page_table,
          &call.cache.batch_index, &call.gradients.lse};
}

std::int64_t element(const tw_tensor& table, std::int64_t i) {
  const std::int64_t place = i * table.stride[0];
  return table.dtype == TW_INT32 ? static_cast<const std::int32_t*>(table.data)[place]
                                 : static_cast<const std::int64_t*>(table.data)[place];
}

}  // namespace

Upload::Upload(Call& call, tw_device device) : device_(device) {
  if (device.kind == TW_CPU) return;
  try {
    for (const NamedTensor& named : tensors_of(call)) move(*named.tensor, named.is_output);
    for (tw_tensor* table : tables_of(call)) move(*table, false);
    must(synchronize(device_));
  } catch (...) {
    point_back();
    throw;
  }
}

Upload::~Upload() {
  point_back();
}

void Upload::move(tw_tensor& tensor, bool is_output) {
  if (tensor.rank == 0 || tensor.data == nullptr) return;
  const auto size = static_cast<std::size_t>(tensor.byte_size);
  DeviceMemory there;
  must(there.allocate(device_, size));
  must(copy(device_, there.data(), tensor.data, size));
  bytes_ += static_cast<double>(size);
  moved_.push_back({&tensor, tensor.data, std::move(there), is_output});
  tensor.data = moved_.back().there.data();
}

void Upload::fetch() {
  for (const Moved& each : moved_)
    if (each.is_output) must(copy(device_, each.host, each.there.data(), each.there.bytes()));
  if (!moved_.empty()) must(synchronize(device_));
}

void Upload::point_back() {
  for (Moved& each : moved_) each.tensor->data = each.host;
}

// The call is checked for the last backend of the processor, which takes every valid call. If no
// backend were named, TILEWISE_BACKEND would choose one, which might refuse this call.
void check_here(tw_operation operation, const Call& call) {
  const char* backend = nullptr;
  for (std::int32_t i = 0; tw_backend_name(i) != nullptr; ++i)
    if (tw_backend_device(i) == TW_CPU) backend = tw_backend_name(i);
  (void)Runner(0, backend).workspace_bytes(operation, call);
}

void bound_lengths(Call& call) {
  for (tw_sequences* side : {&call.queries, &call.keys}) {
    const tw_tensor& offsets = side->offsets;
    if (offsets.rank == 0 || side->max_length != 0) continue;
    for (std::int64_t b = 0; b + 1 < offsets.shape[0]; ++b)
      side->max_length = std::max(side->max_length, element(offsets, b + 1) - element(offsets, b));
    side->max_length = std::max<std::int64_t>(side->max_length, 1);
  }
}

}  // namespace tilewise::cli
