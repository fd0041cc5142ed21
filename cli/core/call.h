// One call of the C interface with the memory of its option structs, which it points at.
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

// A dense tensor of this type and shape, at `data` or nowhere yet.
[[nodiscard]] tw_tensor dense_tensor(std::int32_t dtype, std::span<const std::int64_t> shape,
                                     void* data = nullptr);
[[nodiscard]] std::int64_t element_count(const tw_tensor& tensor);

// Fill in the structs first, then link(), which hangs them on the request.
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

// The mask, scores and dropout of a case, without tensors.
void set_options(const Case& shape, Call& call);

// The shapes of every tensor of a case, without memory (but for the packed offsets), and links it.
void describe(const Case& shape, bool backward, Call& call);

// What a tensor is to its call.
struct NamedTensor {
  std::string name;
  tw_tensor* tensor;
  bool is_output;
};
// Those that are present, but not offsets.
[[nodiscard]] std::vector<NamedTensor> tensors_of(Call& call);

// Where and how calls run: the device, the number of threads, the backend if one is named, and
// scratch memory. On a device tensors and tables of the calls lie there: see Upload.
class Runner {
 public:
  explicit Runner(std::int32_t threads = 0, const char* backend = nullptr,
                  tw_device device = {TW_CPU, 0});
  [[nodiscard]] std::size_t workspace_bytes(tw_operation operation, const Call& call) const;
  // Makes ready what the operation needs: kernels, threads and workspace. Returns its bytes.
  std::size_t prepare(tw_operation operation, const Call& call);
  // A device may still be at it afterwards.
  void run(tw_operation operation, const Call& call);
  // Returns when all that was begun is done.
  void finish() const;
  [[nodiscard]] bool is_on_device() const { return execution_.device.kind != TW_CPU; }
  [[nodiscard]] const tw_execution& execution() const { return execution_; }
  tw_execution& execution() { return execution_; }

 private:
  tw_execution execution_ = {};
  DeviceMemory workspace_;
};

// Names of the library's backends in the order they are tried.
[[nodiscard]] std::vector<std::string> backend_names();

// For tw_execution: the library's own copy of the name, or null for an empty one, which leaves the
// choice to the library. An unknown name is a Failure.
[[nodiscard]] const char* backend_named(const std::string& name);

// Whether the library refuses every call because of its environment; then a Failure.
void check_environment();

// tw_explain's answer.
[[nodiscard]] std::string explain(tw_operation operation, const Call& call,
                                  const tw_execution& execution, tw_format format);

// Room for the library's sentence, and the exit status a refusal becomes.
using Message = std::array<char, 2048>;
void check(tw_status status, const Message& message);

}  // namespace tilewise::cli
