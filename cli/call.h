// One call of the C interface with the memory of its option structs, which it points at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "cli/cases.h"
#include "tilewise/tilewise.h"

namespace tilewise::cli {

// A dense tensor of this type and shape, at `data` or nowhere yet.
[[nodiscard]] tw_tensor dense_tensor(std::int32_t dtype, std::span<const std::int64_t> shape,
                                     void* data = nullptr);
[[nodiscard]] std::int64_t element_count(const tw_tensor& tensor);

// Fill in the structs first, then link(): only options that ask for something are passed on.
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

void set_mask(const MaskChoice& choice, tw_mask& mask);
// What needs no tensor: scale, softcap and dropout.
void set_scores(const ScoreChoice& choice, Call& call);

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

// Where and how calls run: the number of threads, the backend if one is named, and scratch memory
// aligned for any backend.
class Runner {
 public:
  explicit Runner(std::int32_t threads = 0, const char* backend = nullptr);
  // Makes ready what the operation needs: kernels, threads and workspace. Returns its bytes.
  std::size_t prepare(tw_operation operation, const Call& call);
  void run(tw_operation operation, const Call& call);
  [[nodiscard]] const tw_execution& execution() const { return execution_; }
  tw_execution& execution() { return execution_; }

 private:
  struct Release {
    void operator()(void* memory) const { ::operator delete (memory, std::align_val_t{64}); }
  };
  tw_execution execution_ = {};
  std::unique_ptr<void, Release> workspace_;
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
