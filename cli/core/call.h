// One call of the C interface, and the option structs that its request points at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/core/cases.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cli {

// A dense tensor of this type and shape, with its data at `data` or without memory.
[[nodiscard]] tw_tensor dense_tensor(std::int32_t dtype, std::span<const std::int64_t> shape,
                                     void* data = nullptr);
[[nodiscard]] std::int64_t element_count(const tw_tensor& tensor);

// Fill in the structs, then call link(), which points the request at them.
struct Call {
  Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  void link(bool has_gradients);

  tw_request request = {};
  tw_options options = {};
  tw_mask mask = {};
  tw_scores scores = {};
  tw_dropout dropout = {};
  tw_sequences queries = {}, keys = {};
  tw_cache cache = {};
  tw_gradients gradients = {};
  std::vector<std::int64_t> query_offsets, key_offsets;
};

// Sets the mask, scores and dropout of a case, without their tensors.
void set_options(const Case& shape, Call& call);

// Sets the shapes of all tensors of a case and links the call. Only packed offsets get memory.
void describe(const Case& shape, bool backward, Call& call);

// A tensor of a call, with its name and whether the call writes it.
struct NamedTensor {
  std::string name;
  tw_tensor* tensor;
  bool is_output;
};
// The call's tensors that are present, without offsets and other tables.
[[nodiscard]] std::vector<NamedTensor> tensors_of(Call& call);

// Runs calls on one device, with a number of threads, a backend if one is named, and a workspace.
// For a GPU the calls' tensors and tables must lie in its memory: see Upload.
class Runner {
 public:
  explicit Runner(std::int32_t threads = 0, const char* backend = nullptr,
                  tw_device device = {TW_CPU, 0});
  [[nodiscard]] std::size_t workspace_bytes(tw_operation operation, const Call& call) const;
  // Prepares kernels, threads and workspace for the operation. Returns the workspace's bytes.
  std::size_t prepare(tw_operation operation, const Call& call);
  // Starts the operation; a device may still be running it on return.
  void run(tw_operation operation, const Call& call);
  // Waits until everything that was started is done.
  void finish() const;
  [[nodiscard]] bool is_on_device() const { return execution_.device.kind != TW_CPU; }
  [[nodiscard]] const tw_execution& execution() const { return execution_; }
  tw_execution& execution() { return execution_; }

 private:
  tw_execution execution_ = {};
  DeviceMemory workspace_;
};

// Names of the library's backends, in the order in which it tries them.
[[nodiscard]] std::vector<std::string> backend_names();

// The library's own copy of the name, for tw_execution. An empty name gives null, which leaves the
// choice to the library; an unknown name is a Failure.
[[nodiscard]] const char* backend_named(const std::string& name);

// Throws Failure if the library refuses every call because of its environment.
void check_environment();

// Returns tw_explain's text.
[[nodiscard]] std::string explain(tw_operation operation, const Call& call,
                                  const tw_execution& execution, tw_format format);

// Buffer for the library's sentence. check() throws Failure, with the exit status, for a refusal.
using Message = std::array<char, 2048>;
void check(tw_status status, const Message& message);

}  // namespace tilewise::cli
