// The handlers that XLA calls: forward and backward, on the processor and on a GPU. Python opens
// this file with ctypes, gives it the library's functions and registers the handlers
// (tilewise/jax).
#include <tilewise/tilewise.h>

#include <cstddef>

#include "python/xla/failure.h"
#include "python/xla/ffi.h"
#include "python/xla/request.h"
#include "python/xla/scratch.h"

namespace tilewise::xla {
namespace {

using Function = tw_status (*)(const tw_request*, const tw_execution*, char*, size_t);
using Question = tw_status (*)(tw_operation, const tw_request*, const tw_execution*, size_t*, char*,
                               size_t);

// Functions of the library that ctypes has open. Nothing is linked, so TILEWISE_LIBRARY and
// Python's check of the version hold here, too. Set once, before a handler is registered.
struct Library {
  Function forward, backward;
  Question workspace;
};
Library library = {};

constexpr std::size_t kMessageBytes = 2048;
struct Message {
  char text[kMessageBytes] = {};
};

// Answers XLA's question for the interface's version at registration. XLA refuses a version too old
// or too new, but what this file uses is the same in all versions: the answer is XLA's own version,
// or 0.1 if that is unknown.
bool answers_metadata(const ffi::CallFrame& frame) {
  const ffi::Extension* extension = frame.extension;
  if (extension == nullptr || extension->type != ffi::kMetadataExtension) return false;
  ffi::Metadata& metadata = *reinterpret_cast<const ffi::MetadataExtension*>(extension)->metadata;
  metadata.version.major = ffi::kMajor;
  metadata.version.minor = frame.api != nullptr ? frame.api->version.minor : 1;
  // Not to be recorded into graphs, because the workspace is lent for this call only.
  metadata.traits = 0;
  return true;
}

ffi::Error* find_device(const ffi::CallFrame& frame, tw_execution& execution) {
  const ffi::Api& api = *frame.api;
  if (api.size < offsetof(ffi::Api, device) + sizeof api.device)
    return fail(frame, ffi::kUnimplemented,
                "This jaxlib does not say on which GPU a call runs; update jax to 0.6 or newer.");
  ffi::GetDevice device = {sizeof device, nullptr, frame.context, 0};
  ffi::GetStream stream = {sizeof stream, nullptr, frame.context, nullptr};
  ffi::Error* error = api.device(&device);
  if (error == nullptr) error = api.stream(&stream);
  if (error != nullptr) return fail_with(frame, error, "The GPU of a call is not known.");
  execution.device = {TW_CUDA, device.ordinal};
  execution.stream = stream.stream;
  execution.device_tables = 1;
  return nullptr;
}

ffi::Error* run(const ffi::CallFrame& frame, tw_operation operation, tw_device_kind kind) {
  if (answers_metadata(frame) || frame.stage != ffi::kExecute) return nullptr;
  Message message;
  Request request;
  if (!request.read(frame, message.text, kMessageBytes))
    return fail(frame, ffi::kInvalidArgument, message.text);
  tw_execution execution = {};
  execution.size = sizeof execution;
  if (kind == TW_CUDA)
    if (ffi::Error* error = find_device(frame, execution)) return error;
  std::size_t bytes = 0;
  tw_status status =
      library.workspace(operation, &request.get(), &execution, &bytes, message.text, kMessageBytes);
  if (status != TW_OK) return fail(frame, status, message.text);
  Scratch scratch(frame);
  ffi::Error* error = kind == TW_CUDA ? scratch.take_on_device(bytes, execution)
                                      : scratch.take_on_host(bytes, execution);
  if (error != nullptr) return error;
  const Function function = operation == TW_FORWARD ? library.forward : library.backward;
  status = function(&request.get(), &execution, message.text, kMessageBytes);
  return status == TW_OK ? nullptr : fail(frame, status, message.text);
}

}  // namespace
}  // namespace tilewise::xla

using tilewise::xla::run;
using Frame = tilewise::xla::ffi::CallFrame;
using Error = tilewise::xla::ffi::Error;

extern "C" {

TW_API Error* tilewise_xla_forward_cpu(Frame* frame) {
  return run(*frame, TW_FORWARD, TW_CPU);
}
TW_API Error* tilewise_xla_backward_cpu(Frame* frame) {
  return run(*frame, TW_BACKWARD, TW_CPU);
}
TW_API Error* tilewise_xla_forward_cuda(Frame* frame) {
  return run(*frame, TW_FORWARD, TW_CUDA);
}
TW_API Error* tilewise_xla_backward_cuda(Frame* frame) {
  return run(*frame, TW_BACKWARD, TW_CUDA);
}

// The version of tilewise.h that this was built with: 1000 * major + minor.
TW_API int tilewise_xla_version() {
  return 1000 * TW_VERSION_MAJOR + TW_VERSION_MINOR;
}

TW_API void tilewise_xla_connect(void* forward, void* backward, void* workspace) {
  tilewise::xla::library = {reinterpret_cast<tilewise::xla::Function>(forward),
                            reinterpret_cast<tilewise::xla::Function>(backward),
                            reinterpret_cast<tilewise::xla::Question>(workspace)};
}
}
