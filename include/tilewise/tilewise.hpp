// Tilewise's C++ face: the C face with defaults, optionals and strings, inline over it, so that no
// C++ type crosses the library's border. C++17 can read it; C++20's designated initialisers read
// best:
//
//     tilewise::Status status = tilewise::forward(
//         {.query = q, .key = k, .value = v, .output = o, .mask = tilewise::causal()});
//
// What the members mean stands in tilewise.h, at the structs of the same names.
#ifndef TILEWISE_TILEWISE_HPP
#define TILEWISE_TILEWISE_HPP

#include <memory>
#include <new>
#include <utility>

#include "tilewise/lowering.hpp"

namespace tilewise {
inline namespace face {
namespace detail {

// Calls a function of the C face; returns its code and its sentence.
template <class Function, class... Arguments>
Status call(Function function, Arguments... arguments) {
  char message[1024];
  const tw_status code = function(arguments..., message, sizeof message);
  return {code, code == TW_OK ? "" : message};
}

template <class Function>
Status run(tw_operation operation, Function function, const Request& request,
           const Execution& execution) {
  Lowered form(request);
  tw_execution where = lowered(execution);
  std::unique_ptr<std::byte[]> own;
  if (!where.workspace) {
    Status status = call(tw_workspace, operation, form.for_operation(operation), &where,
                         &where.workspace_bytes);
    if (!status) return status;
    if (where.device.kind != TW_CPU && where.workspace_bytes > 0)
      return {
          TW_INVALID,
          "The workspace is null: on a device give one that lies there, as large as workspace() "
          "says."};
    own.reset(new (std::nothrow) std::byte[where.workspace_bytes]);
    if (!own) return {TW_FAILED, "There is no memory for the workspace."};
    where.workspace = own.get();
  }
  return call(function, form.for_operation(operation), &where);
}

}  // namespace detail

inline Status forward(const Request& request, const Execution& execution = {}) {
  return detail::run(TW_FORWARD, tw_forward, request, execution);
}

inline Status backward(const Request& request, const Execution& execution = {}) {
  return detail::run(TW_BACKWARD, tw_backward, request, execution);
}

inline Status probabilities(const Request& request, const Execution& execution = {}) {
  return detail::run(TW_PROBABILITIES, tw_probabilities, request, execution);
}

inline Status workspace(tw_operation operation, const Request& request, std::size_t& bytes,
                        const Execution& execution = {}) {
  detail::Lowered form(request);
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_workspace, operation, form.for_operation(operation), &where, &bytes);
}

inline Status prepare(tw_operation operation, const Request& request,
                      const Execution& execution = {}) {
  detail::Lowered form(request);
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_prepare, operation, form.for_operation(operation), &where);
}

inline Status explain(tw_operation operation, const Request& request, std::string& text,
                      const Execution& execution = {}, tw_format format = TW_TEXT) {
  detail::Lowered form(request);
  const tw_execution where = detail::lowered(execution);
  // Asks again if the text grew: each call times a run of its own, and may need a digit more.
  std::size_t needed = 4096;
  Status status;
  do {
    text.resize(needed + 64);
    status = detail::call(tw_explain, operation, form.for_operation(operation), &where, format,
                          &text[0], text.size(), &needed);
  } while (status.ok() && needed > text.size());
  text.resize(status.ok() ? needed - 1 : 0);
  return status;
}

inline Status rotary(const RotaryRequest& request, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_rotary, detail::LoweredRotary(request).get(), &where);
}

inline Status append(const AppendRequest& request, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_append, detail::LoweredAppend(request).get(), &where);
}

inline Status merge(const MergeRequest& request, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  const tw_merge_request form = detail::lowered(request);
  return detail::call(tw_merge, &form, &where);
}

// The workspace of a rotation: 0 on the processor; on a device, what tables on the host need.
inline Status workspace(const RotaryRequest& request, std::size_t& bytes,
                        const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_workspace_rotary, detail::LoweredRotary(request).get(), &where, &bytes);
}

inline Status workspace(const AppendRequest& request, std::size_t& bytes,
                        const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_workspace_append, detail::LoweredAppend(request).get(), &where, &bytes);
}

// Waits for the stream, then takes the tw_fault bits of calls that had no error word.
inline Status take_faults(std::uint32_t& faults, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_take_faults, &where, &faults);
}

inline Status prepare(const RotaryRequest& request, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_prepare_rotary, detail::LoweredRotary(request).get(), &where);
}

inline Status prepare(const AppendRequest& request, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  return detail::call(tw_prepare_append, detail::LoweredAppend(request).get(), &where);
}

inline Status prepare(const MergeRequest& request, const Execution& execution = {}) {
  const tw_execution where = detail::lowered(execution);
  const tw_merge_request form = detail::lowered(request);
  return detail::call(tw_prepare_merge, &form, &where);
}

// Memory of a device, released by the destructor, for callers who have no other library for it.
// Before it is released, wait until the device is done with it: see synchronize.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() { tw_free(&device_, data_, nullptr, 0); }

  // Replaces the memory by new memory; if that is refused, by none.
  Status allocate(tw_device device, std::size_t bytes) {
    DeviceMemory fresh;
    fresh.device_ = device;
    Status status = detail::call(tw_allocate, &device, bytes, &fresh.data_);
    if (status) fresh.bytes_ = bytes;
    swap(fresh);
    return status;
  }

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  tw_device device() const { return device_; }

 private:
  void swap(DeviceMemory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
  }

  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  tw_device device_ = {TW_CPU, 0};
};

// Counts the devices of a kind. If none can be used, the status says why.
inline Status device_count(tw_device_kind kind, std::int32_t& count) {
  return detail::call(tw_device_count, kind, &count);
}

inline Status describe(tw_device device, tw_device_facts& facts) {
  facts.size = sizeof facts;
  return detail::call(tw_device_describe, &device, &facts);
}

inline Status copy(tw_device device, void* to, const void* from, std::size_t bytes,
                   void* stream = nullptr) {
  return detail::call(tw_copy, &device, to, from, bytes, stream);
}

inline Status synchronize(tw_device device, void* stream = nullptr) {
  return detail::call(tw_synchronize, &device, stream);
}

inline Status kernels(std::string& text, const KernelChoice& choice = {},
                      tw_format format = TW_TEXT) {
  const tw_kernel_choice which = detail::lowered(choice);
  // Asks again if the text grew: another process may compile a kernel between two calls.
  std::size_t needed = 16384;
  Status status;
  do {
    text.resize(needed + 256);
    status = detail::call(tw_kernels, &which, format, &text[0], text.size(), &needed);
  } while (status.ok() && needed > text.size());
  text.resize(status.ok() ? needed - 1 : 0);
  return status;
}

inline Status build_kernels(const KernelChoice& choice = {}, tw_progress progress = nullptr,
                            void* host = nullptr) {
  const tw_kernel_choice which = detail::lowered(choice);
  return detail::call(tw_build_kernels, &which, progress, host);
}

inline Status clear_kernels(std::int64_t* removed = nullptr) {
  return detail::call(tw_clear_kernels, removed);
}

inline Status add_nvrtc_folder(const char* folder) {
  return detail::call(tw_add_nvrtc_folder, folder);
}

}  // namespace face
}  // namespace tilewise

#endif
